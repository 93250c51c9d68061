"""Files that a config names by its `*_file` keys: passwords, keys, certificates. Where they are, and what they hold."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..errors import Problem
from .schema import Section


def secret_path(name: str) -> Path:
    """Where a `*_file` key points: absolute, or relative to $CREDENTIALS_DIRECTORY when systemd gives one."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", "."), name)


def read_secret(name: str) -> str:
    """The secret in a file, without the line end that editors leave."""
    return secret_path(name).read_text(encoding="utf-8").rstrip("\r\n")


def unreadable_files(section: Section, path: str = "") -> Iterator[Problem]:
    """Every `*_file` that is named and can't be read, before anything is built on it."""
    for field in msgspec.structs.fields(section):
        value = getattr(section, field.name)
        here = f"{path}.{field.name}" if path else field.name
        if isinstance(value, Section):
            yield from unreadable_files(value, here)
        elif field.name.endswith("_file") and value is not None:
            try:
                secret_path(value).open("rb").close()
                if field.name.endswith("password_file") and not read_secret(value):
                    yield Problem(here, f"{secret_path(value)} is empty", "write the password into it")
            except OSError as error:
                mend = "relative names are looked for in $CREDENTIALS_DIRECTORY"
                yield Problem(here, f"{secret_path(value)} can't be read: {error.strerror}", mend)
            except UnicodeDecodeError:
                yield Problem(here, f"{secret_path(value)} is no UTF-8 text", "a password is written as text")
