"""Messages on standard error: why a verb has failed, and what the user may have meant."""

import difflib
import errno
import os
import sys
from collections.abc import Iterable
from typing import Any

import click


def printable(text: str) -> str:
    """Text of others on one line, with nothing that a terminal takes for a command."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def note(text: str) -> None:
    """A line on standard error; what a library or a server put into it is made printable."""
    lines = (printable(line) for line in text.replace("\t", " ").splitlines())
    print("\n".join(lines), file=sys.stderr)


def fail(text: object) -> int:
    """Why the verb has failed, on standard error. Gives the exit code."""
    note(f"ingestd: {text}")
    return 1


def system_words(error: OSError) -> str:
    """An error of the system in words."""
    words = error.strerror or str(error)
    if error.filename is not None:
        words = f"{os.fsdecode(error.filename)}: {words}"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        words += "; raise the limit of open files (ulimit -n, LimitNOFILE=)"
    return words


def near(word: str, known: Iterable[str]) -> str:
    """` Did you mean X?`, or nothing when nothing is near."""
    found = difflib.get_close_matches(word.lower(), list(known), 1)
    return f" Did you mean {found[0]}?" if found else ""


class Choice(click.Choice):
    """One of some words. A wrong one is answered with the one that is near."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            error.message += near(str(value), map(str, self.choices))
            raise
