"""Files that a config names by its `*_file` keys: passwords, keys, certificates. Where they are, and what they hold."""

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import Problem
from .keys import Section, values


def secret_path(name: str) -> Path:
    """Where a `*_file` key points: absolute, or relative to $CREDENTIALS_DIRECTORY when systemd gives one."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", "."), name)


def read_secret(name: str) -> str:
    """The secret in a file, without the line end that editors leave."""
    return secret_path(name).read_text(encoding="utf-8").rstrip("\r\n")


def unreadable_files(section: Section) -> Iterator[Problem]:
    """Every `*_file` that is named and can't be read, before anything is built on it."""
    for path, field, value in values(section):
        if not field.name.endswith("_file") or value is None:
            continue
        try:
            secret_path(value).open("rb").close()
            if field.name.endswith("password_file") and not read_secret(value):
                yield Problem(path, f"{secret_path(value)} is empty", "write the password into it")
        except OSError as error:
            mend = "relative names are looked for in $CREDENTIALS_DIRECTORY"
            yield Problem(path, f"{secret_path(value)} can't be read: {error.strerror}", mend)
        except UnicodeDecodeError:
            yield Problem(path, f"{secret_path(value)} is no UTF-8 text", "a password is written as text")
