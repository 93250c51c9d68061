"""ARCHITECTURE.md and CONTRIBUTING.md are true: tables, names, paths and targets are those of today."""

import re

import pytest

from tests.support.architecture import DAEMON, FOLDERS, PAGE, listed, with_parts
from tests.support.non_obvious import BadMarker, markers, markers_in, sources
from tests.support.paths import ROOT

TEXT = PAGE.read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CODE = "\n".join(path.read_text(encoding="utf-8") for path in sources() if DAEMON in path.parents)


def test_the_tables_of_the_page_are_those_that_the_sources_make():
    assert with_parts(TEXT) == TEXT, "run: python -m tests.support.architecture"


def test_every_folder_with_sources_is_in_the_table_of_modules():
    found = {path.parent for path in sources() if DAEMON in path.parents or path.parent == DAEMON}
    assert {str(folder.relative_to(DAEMON)).strip(".") for folder in found} == set(FOLDERS)
    assert all(listed(folder) for folder in FOLDERS)


@pytest.mark.parametrize("heading", ["Overview", "One batch's life", "Threads"])
def test_every_name_that_the_page_gives_is_in_the_sources(heading: str):
    (section,) = re.findall(rf"^## {heading}\n(.*?)^## ", TEXT, re.M | re.S)
    names = {part for name in re.findall(r"`([A-Za-z_][\w.]*)`", section) for part in name.split(".")}
    assert len(names) > 5
    outside = {"daemon", "tests", "tidy", "test_tidy", "py", "labels", "metadata", "model", "support", "pxi"}
    assert sorted(name for name in names - outside if not re.search(rf"\b{name}\b", CODE)) == []


def test_every_thread_and_lock_of_the_daemon_is_in_the_section_on_threads():
    (section,) = re.findall(r"^## Threads\n(.*?)^## ", TEXT, re.M | re.S)
    found = set()
    for path in DAEMON.rglob("*.py"):
        if DAEMON / "client" not in path.parents:
            text = path.read_text(encoding="utf-8")
            found |= set(re.findall(r'(?:thread_name_prefix|Thread\([^)]*\bname)="([\w-]+)"', text))
            found |= set(re.findall(r"self\.(\w+) = (?:asyncio|threading)\.(?:Lock|Condition)\(", text))
    assert len(found) > 4 and sorted(name for name in found if not re.search(rf"\b{name}\b", section)) == []


def test_a_class_that_the_pages_name_has_the_function_that_they_name():
    for owner, name in sorted(set(re.findall(r"`([A-Z]\w*[a-z]\w*)\.([a-z_]\w*)`", TEXT + CONTRIBUTING))):
        classes = re.findall(rf"^(?:cdef )?class {owner}\b.*?(?=^(?:cdef )?class |\Z)", CODE, re.M | re.S)
        assert any(re.search(rf"\b{name}\b", body) for body in classes), f"{owner}.{name}"


def test_every_path_that_contributing_gives_is_there():
    paths = set(re.findall(r"`((?:daemon|tests|docs|tools|bench)/[\w./-]+)`", CONTRIBUTING))
    patterns = {"daemon/cli/NAME.py", "docs/decisions/NNNN-title.md"}
    assert len(paths) > 30 and sorted(path for path in paths - patterns if not (ROOT / path).exists()) == []


def test_every_name_that_contributing_gives_is_in_the_file_that_it_gives():
    """As "`path`: `name`", or "`name` in `path`"."""
    pairs = re.findall(r"`((?:daemon|tests)/[\w./]+)`: (?:\w+ )*`(\w+)`", CONTRIBUTING)
    pairs += [(path, name) for name, path in re.findall(r"`(\w+)` in\s+`(\w+/[\w./]+)`", CONTRIBUTING)]
    assert len(pairs) > 10
    assert [pair for pair in pairs if not re.search(rf"\b{pair[1]}\b", (ROOT / pair[0]).read_text())] == []


def test_contributing_has_every_target_of_the_makefile_and_no_other():
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M)
    table = CONTRIBUTING.partition("## Targets")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|([^|]+)\|", table, re.M)
    assert sorted(re.findall(r"`make ([a-z-]+)`", " ".join(rows))) == sorted(targets)


def test_every_marker_is_well_formed():
    assert len(markers()) > 80


@pytest.mark.parametrize(
    "text",
    [
        "x = 1  # Non-obvious: what stands behind code is no marker of its own.\n",
        "# See Non-obvious.\n",
        "# Non-obvious: its first sentence never ends\n",
        "# Non-obvious: its first sentence never ends\nfollowed = 'by code.'\n",
        "# Non-obvious: short.\n",
        f"# Non-obvious: {'too long ' * 25}.\n",
    ],
)
def test_a_marker_that_could_not_stand_in_an_index_is_named(text: str):
    with pytest.raises(BadMarker, match=r"^a\.py:1: "):
        list(markers_in("a.py", text))


def test_a_marker_may_stand_in_a_comment_or_a_docstring_and_go_on():
    text = '''
    """What it is.

    Non-obvious: a sentence may go on
    in the next line. Why is not in the index."""
    # Non-obvious: of two markers in a row
    # Non-obvious: each has a sentence of its own.
    '''
    with pytest.raises(BadMarker):
        list(markers_in("a.py", text))
    found = list(markers_in("a.py", text.replace("in a row", "in a row, this is the first.")))
    assert [(marker.line, marker.sentence) for marker in found] == [
        (4, "a sentence may go on in the next line"),
        (6, "of two markers in a row, this is the first"),
        (7, "each has a sentence of its own"),
    ]
