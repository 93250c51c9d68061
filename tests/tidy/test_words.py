"""Words: the field's own in the sources, and no text that refers to what is not in the repository."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.non_obvious import sources
from tests.support.paths import ROOT

# CONTRIBUTING has what to say in their place.
BANNED = ("anew", "bury", "buried", "grave", "graves", "sparing", "peek", "rooms", "legacy")
BANNED_WORD = re.compile(rf"\b({'|'.join(BANNED)})\b", re.I)
# A document by a number, or one that nobody has who has the repository. Standards have names: RFC 3339, section 5.6.
ELSEWHERE = re.compile(
    r"\bdesign(?:'s)?(?:\s+document|,)?\s+(?:section\s+)?\d|\bdesign's\s+section|\bthe\s+design\s+(?:says|document)"
    r"|\bissue\s+#?\d|\bticket\s+#?\d|\(section\s+\d|/work/",
    re.I,
)
BINARY = {".svg", ".lock", ".sum", ".png", ".gif"}


def tracked() -> list[Path]:
    """Every text of the repository."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in BINARY and path != Path(__file__)]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_words_that_nobody_searches_for_stay_out_of_the_daemon(path: Path):
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    assert [(number, found[0]) for number, line in lines if (found := BANNED_WORD.search(line))] == []


def test_no_text_refers_to_a_document_outside_of_the_repository():
    found = []
    for path in tracked():
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {match[0]!r}" for match in ELSEWHERE.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    "text", ["as design 6.7 has it", "(design 6.1)", "the design's\nsection on X", "see issue 12", "only (section 4)"]
)
def test_such_a_reference_is_found(text: str):
    assert ELSEWHERE.search(text)


@pytest.mark.parametrize(
    "text", ["RFC 9562, section 5.4", "an issue is closed", "the design of a table", "by design: 3"]
)
def test_what_is_none_is_not(text: str):
    assert not ELSEWHERE.search(text)
