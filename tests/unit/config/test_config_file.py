"""Holds config.yaml equal to the fields of the schema: each key with its default and its comment, in their order."""

import re
from collections.abc import Iterator

import pytest
import yaml

from ingestd.config.checks import check
from ingestd.config.keys import keys
from ingestd.config.loading import parse
from ingestd.config.schema import Config
from tests.support import config_keys
from tests.support.paths import ROOT

FILE = ROOT / "config.yaml"
FIELDS = dict(keys(Config))
COMMENT_COLUMN = 30  # a comment that begins to the right of it goes on from the line before


@pytest.fixture(scope="module")
def text() -> str:
    return FILE.read_text(encoding="utf-8")


def written_keys(node: yaml.MappingNode, path: str = "") -> Iterator[tuple[str, int]]:
    """(key path, line from 0) of each leaf that the file writes out."""
    for key, value in node.value:
        here = f"{path}.{key.value}" if path else key.value
        if isinstance(value, yaml.MappingNode) and here not in FIELDS:
            yield from written_keys(value, here)
        else:
            yield here, key.start_mark.line


@pytest.fixture(scope="module")
def written(text: str) -> list[tuple[str, int]]:
    return list(written_keys(yaml.compose(text, yaml.SafeLoader)))


def test_every_key_of_the_code_is_in_the_file_and_back(written: list[tuple[str, int]]) -> None:
    paths = [path for path, _ in written]
    assert sorted(paths) == sorted(FIELDS)


def test_every_value_in_the_file_is_the_default(text: str) -> None:
    assert parse(text, "config.yaml") == Config()


def test_the_file_has_no_problem(text: str) -> None:
    assert check(parse(text)) == []


def test_the_file_is_read_alike_in_every_environment(text: str) -> None:
    values = "\n".join(line.split("#")[0] for line in text.splitlines())
    assert "${" not in values


def comment_of(lines: list[str], line: int) -> str:
    """The comment beside a key, with the lines on which it goes on; without one, the first line above it."""
    if "#" in lines[line]:
        rest = lines[line + 1 :]
        more = next((count for count, text in enumerate(rest) if not re.match(rf" {{{COMMENT_COLUMN},}}#", text)), 0)
        return " ".join(text.split("#", 1)[1].strip() for text in lines[line : line + 1 + more])
    first = line
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return lines[first].strip(" #")


def test_the_comment_of_each_key_is_what_its_field_says(text: str, written: list[tuple[str, int]]) -> None:
    lines = text.splitlines()
    found = {path: comment_of(lines, line) for path, line in written}
    assert found == {path: field.key.meaning for path, field in FIELDS.items() if field.key}


def test_keys_stand_in_the_order_of_the_code(written: list[tuple[str, int]]) -> None:
    assert [path for path, _ in written] == list(FIELDS)


def test_the_table_of_keys_in_the_documents_is_made_from_the_fields() -> None:
    text = config_keys.PAGE.read_text(encoding="utf-8")
    assert config_keys.with_table(text) == text, "run python -m tests.support.config_keys"
