"""Holds config.yaml equal to config.py. In: the file at the repository's root. Out: nothing may differ, both ways."""

from collections.abc import Iterator

import pytest
import yaml

from ingestd.config.checks import check
from ingestd.config.schema import Config, keys, parse
from tests.support.paths import ROOT

FILE = ROOT / "config.yaml"
DEFAULTS = dict(keys())


@pytest.fixture(scope="module")
def text() -> str:
    return FILE.read_text(encoding="utf-8")


def written_keys(node: yaml.MappingNode, path: str = "") -> Iterator[tuple[str, int]]:
    """(key path, line from 0) of each leaf that the file writes out."""
    for key, value in node.value:
        here = f"{path}.{key.value}" if path else key.value
        if isinstance(value, yaml.MappingNode) and here not in DEFAULTS:
            yield from written_keys(value, here)
        else:
            yield here, key.start_mark.line


@pytest.fixture(scope="module")
def written(text: str) -> list[tuple[str, int]]:
    return list(written_keys(yaml.compose(text, yaml.SafeLoader)))


def test_every_key_of_the_code_is_in_the_file_and_back(written: list[tuple[str, int]]) -> None:
    paths = [path for path, _ in written]
    assert sorted(paths) == sorted(DEFAULTS)


def test_every_value_in_the_file_is_the_default(text: str) -> None:
    assert parse(text, "config.yaml") == Config()


def test_the_file_has_no_problem(text: str) -> None:
    assert check(parse(text)) == []


def test_the_file_is_read_alike_in_every_environment(text: str) -> None:
    values = "\n".join(line.split("#")[0] for line in text.splitlines())
    assert "${" not in values


def test_every_key_has_a_comment_beside_or_above_it(text: str, written: list[tuple[str, int]]) -> None:
    lines = text.splitlines()
    bare = [
        path
        for path, line in written
        if "#" not in lines[line] and not (line and lines[line - 1].lstrip().startswith("#"))
    ]
    assert bare == []


def test_keys_stand_in_the_order_of_the_code(written: list[tuple[str, int]]) -> None:
    assert [path for path, _ in written] == list(DEFAULTS)
