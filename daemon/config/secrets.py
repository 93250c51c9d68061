"""Files that a config names by its `*_file` keys: passwords, keys, certificates. Where they are, and what they hold."""

import codecs
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..errors import Problem
from .keys import Section, values

SECRET_BYTES_MAX: Final = 64 * 1024


class SecretError(OSError):
    """The file can be read and holds no secret. `strerror` says why."""

    def __init__(self, what: str, path: Path) -> None:
        super().__init__(errno.EINVAL, what, str(path))


def secret_path(name: str) -> Path:
    """Where a `*_file` key points: absolute, or relative to $CREDENTIALS_DIRECTORY when systemd gives one."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", "."), name)


def read_secret(name: str) -> str:
    """The secret in a file, without the line end and the byte order mark that editors leave. Raises OSError."""
    path = secret_path(name)
    _ensure_regular(path)
    with path.open("rb") as file:
        content = file.read(SECRET_BYTES_MAX + 1)
    if len(content) > SECRET_BYTES_MAX:
        raise SecretError(f"is larger than {SECRET_BYTES_MAX} bytes", path)
    if b"\0" in content:
        raise SecretError("has a NUL byte, which no password has", path)
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretError("is no UTF-8 text", path) from None


def _ensure_regular(path: Path) -> None:
    """It is read again at each connect: a FIFO would be empty then, or waited for."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise SecretError("is a folder", path)
    if not stat.S_ISREG(mode):
        raise SecretError("is no regular file, and is read again and again", path)


def unreadable_files(section: Section) -> Iterator[Problem]:
    """Every `*_file` that is named and can't be read, before anything is built on it."""
    for path, field, value in values(section):
        if not field.name.endswith("_file") or value is None:
            continue
        try:
            if not field.name.endswith("password_file"):
                _ensure_regular(secret_path(value))
                secret_path(value).open("rb").close()
            elif not read_secret(value):
                yield Problem(path, f"{secret_path(value)} is empty", "write the password into it")
        except SecretError as error:
            yield Problem(path, f"{secret_path(value)} {error.strerror}")
        except OSError as error:
            mend = "relative names are looked for in $CREDENTIALS_DIRECTORY"
            yield Problem(path, f"{secret_path(value)} can't be read: {error.strerror}", mend)
