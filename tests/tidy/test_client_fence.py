"""The client library's fence: it needs neither the daemon's modules nor the daemon's dependencies."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

DAEMON = ROOT / "daemon"
CLIENT = sorted((DAEMON / "client").rglob("*.py"))
# What the client's modules may import of the package, beside each other. All of it is fenced in the same way.
SHARED = {"_fastpath", "_librdkafka", "backoff", "config", "errors", "events", "rate_limited_log"}
BASE = {"confluent_kafka", "msgspec"}
# Modules that have a package of an extra, and say so by MissingExtra where it is not installed.
EXTRA = {"client.lookup.store": {"redis"}, "config.yaml_file": {"yaml"}}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(DAEMON).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[str]:
    """Full names of what a source imports, also inside functions: `ingestd.errors.IngestdError`, `msgspec`."""
    if path.suffix != ".py":
        for name in re.findall(r"^\s*(?:from|c?import) ([\w.]+)", path.read_text(), re.M):
            yield f"ingestd{name}" if name.startswith(".") else name
        return
    package = ["ingestd", *path.relative_to(DAEMON).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            stem = [*above, *([node.module] if node.module else [])]
            yield from (".".join([*stem, alias.name]) for alias in node.names)


def shared_sources() -> list[Path]:
    """The sources of SHARED, each a module, a compiled module or a folder."""
    found: list[Path] = []
    for name in SHARED:
        place = DAEMON.joinpath(*name.split("."))
        files = [path for suffix in (".py", ".pyx") if (path := place.with_suffix(suffix)).is_file()]
        files += place.rglob("*.py") if place.is_dir() else []
        assert files, f"{name} is no module"
        found += files
    return sorted(found)


@pytest.mark.parametrize("path", [*CLIENT, *shared_sources()], ids=name_of)
def test_the_client_stays_behind_its_fence(path: Path):
    own = {name.removeprefix("ingestd.") for name in imports_of(path) if name.startswith("ingestd.")}
    allowed = tuple(f"{name}." for name in (*SHARED, "client", "_abi", "__version__"))
    beyond = {name for name in own if not f"{name}.".startswith(allowed)}
    assert beyond == set(), f"{name_of(path)} imports modules of the daemon"


@pytest.mark.parametrize("path", [*CLIENT, *shared_sources()], ids=name_of)
def test_the_client_needs_no_package_of_the_daemon(path: Path):
    tops = {name.partition(".")[0] for name in imports_of(path)}
    # What a .pyx names by `cimport` comes with Cython, and is not there at run time.
    tops -= {*sys.stdlib_module_names, "ingestd", "cython", "cpython", "libc"}
    assert tops <= BASE | EXTRA.get(name_of(path), set()), f"{name_of(path)} imports what the base does not install"
