"""Reads the `Non-obvious:` markers: comments and docstrings that say what once broke, beside the code that they guard.

A marker begins a comment line or a line of a docstring, and its first sentence stands alone: the index has only that.

    # Non-obvious: an array with a pending send must not move.
    # Why, what it cost, in as many lines as it takes.

`python -m tests.support.architecture` writes the index into ARCHITECTURE.md.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import ROOT

WORD = "Non-obvious"
# Beside the sources, what stands for them at the machine's other end.
PLACES = ("daemon/**/*.py", "daemon/**/*.p[yx][xid]", "daemon/**/*.h", "daemon/**/*.pyi", "systemd/*")
LINE = re.compile(r"^\s*(?P<mark>#|/?\*|)\s*Non-obvious: (?P<text>\S.*)$")
SENTENCE = re.compile(r"(.+?)\.(?:\s|$)")
SENTENCE_MAX = 200


class Marker(NamedTuple):
    """One marker: where it is, and its first sentence without the full stop."""

    path: str
    line: int
    sentence: str


class BadMarker(Exception):
    """A line that has the word and is no marker, or a marker whose first sentence can't stand in an index."""


def sources() -> list[Path]:
    return sorted({path for place in PLACES for path in ROOT.glob(place) if path.is_file()})


def _paragraph(lines: list[str], mark: str) -> str:
    """The lines that go on after a marker's own, up to an empty one or the end of the comment."""
    taken = []
    for line in lines:
        text = line.strip()
        if mark and not text.startswith(mark):
            break
        text = text.removeprefix(mark).strip()
        if not text or text.startswith(f"{WORD}:"):
            break
        taken.append(text.removesuffix('"""'))
        if text.endswith('"""'):
            break
    return " ".join(taken)


def markers_in(path: str, text: str) -> Iterator[Marker]:
    """Raises BadMarker."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if WORD not in line:
            continue
        where = f"{path}:{index + 1}"
        found = LINE.match(line)
        if found is None:
            raise BadMarker(f"{where}: a marker begins its line: {WORD}: a sentence.")
        rest = _paragraph(lines[index + 1 :], found["mark"])
        first = found["text"].removesuffix('"""')
        sentence = SENTENCE.match(f"{first} {rest}")
        if sentence is None or not 20 <= len(sentence[1]) <= SENTENCE_MAX:
            raise BadMarker(
                f"{where}: its first sentence ends with a full stop, after {SENTENCE_MAX} characters at most"
            )
        yield Marker(path, index + 1, sentence[1])


def markers() -> list[Marker]:
    """All of them, in the order of the files. Raises BadMarker."""
    found = []
    for path in sources():
        found += markers_in(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
    return found
