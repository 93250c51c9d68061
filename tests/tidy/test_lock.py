"""requirements.lock is what pyproject.toml asks for. A test that fails here says: make lock."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
# Each begins at the start of a line; its hashes, and where it comes from, are indented below it.
PINS = [entry for entry in re.split(r"\n(?=\S)", LOCK) if not entry.startswith("#")]


def asked() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for table in (project["project"]["optional-dependencies"], project.get("dependency-groups", {})):
        found += [word for words in table.values() for word in words if isinstance(word, str)]
    return [word for word in found if Requirement(word).name != "ingestd"]


def versions(name: str) -> list[str]:
    """More than one where Pythons or processors get different ones."""
    pins = [Requirement(entry.split("\\")[0]) for entry in PINS]
    return [str(pin.specifier)[2:] for pin in pins if canonicalize_name(pin.name) == canonicalize_name(name)]


@pytest.mark.parametrize("text", sorted(set(asked())))
def test_what_pyproject_asks_for_is_in_the_lock_within_its_range(text: str):
    wanted = Requirement(text)
    found = versions(wanted.name)
    assert found, "not in requirements.lock: make lock"
    assert [version for version in found if version not in wanted.specifier] == []


def test_each_package_of_the_lock_is_one_version_with_hashes():
    assert [entry.splitlines()[0] for entry in PINS if "==" not in entry.splitlines()[0]] == []
    assert [entry.splitlines()[0] for entry in PINS if "--hash=sha256:" not in entry] == []


def test_the_lock_says_nothing_of_where_packages_come_from():
    assert re.findall(r"^.*(?:://|--index-url|--extra-index-url|--find-links|--trusted-host).*$", LOCK, re.M) == []
