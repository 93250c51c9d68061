"""Reads the file of a config, whatever it is: a file, standard input, a FIFO; what is no text is said in words."""

import codecs
import os
import stat
import sys
from pathlib import Path
from typing import Final

from ..errors import ConfigError, Problem

# Thousands of rules. More would keep a reload waiting.
FILE_BYTES_MAX: Final = 1 << 20
STANDARD_INPUT: Final = "-"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def is_read_once(named: str) -> bool:
    """Standard input, a FIFO, `<(command)`: what was read of it is gone."""
    try:
        return named == STANDARD_INPUT or not stat.S_ISREG(os.stat(named).st_mode)
    except (OSError, ValueError):
        return False


def read_text(named: str) -> str:
    """The text of a config. Raises ConfigError."""
    source = "(standard input)" if named == STANDARD_INPUT else named

    def refusal(what: str, mend: str = "") -> ConfigError:
        return ConfigError([Problem("(file)", what, mend, source)], source)

    try:
        if named == STANDARD_INPUT:
            content = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        else:
            with Path(named).open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError, AttributeError) as error:
        # ValueError: a NUL in the name. AttributeError: there is no standard input.
        why = (error.strerror if isinstance(error, OSError) else None) or "it is closed, or no name of a file"
        raise refusal(f"{source} can't be read: {why}") from error
    if len(content) > FILE_BYTES_MAX:
        raise refusal(f"{source} is larger than {FILE_BYTES_MAX} bytes")
    if content.startswith(_UTF16) or content[1:2] == b"\0":
        raise refusal(f"{source} is UTF-16 text", "save it as UTF-8")
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = len(content[content.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8")) + 1
        what = f"the byte 0x{content[error.start]:02x} is no UTF-8 text"
        raise ConfigError([Problem("(file)", what, "save it as UTF-8", f"{source}:{line}:{column}")], source) from None
