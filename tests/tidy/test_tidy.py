"""The house is in order: imports go down only, nothing is too long, words that were banned stay out."""

import ast
import re
from pathlib import Path

import pytest

from ingestd.cli import VERBS

ROOT = Path(__file__).resolve().parents[2]
DAEMON = ROOT / "daemon"
OTHERS = [path for place in ("bench/*.py", "tests/**/*.py", "examples/**/*.py") for path in ROOT.glob(place)]
SOURCES = sorted([*DAEMON.rglob("*.py"), *OTHERS, ROOT / "setup.py"])
NATIVE = sorted([*DAEMON.glob("*.pyx"), *DAEMON.glob("*.pxd"), *DAEMON.rglob("*.pxi")])
FUNCTION_LINES_MAX, FILE_LINES_MAX, LINE_MAX = 70, 500, 120

# Design 3. A module may import those of a lower number, and its equals where the pair is named in PEERS.
LEVELS = {
    "__init__": 0,
    "model": 0,
    "errors": 0,
    "phases": 0,
    "metrics": 1,
    "allocator": 0,
    "backoff": 0,
    "bottleneck": 0,
    "logs": 0,
    "notify": 0,
    "threads": 0,
    "_abi": 0,
    "config": 1,
    "occurrences": 2,
    "http": 1,
    "kafka_options": 2,
    "topic_pattern": 2,
    "config_check": 3,
    "_fastpath": 2,
    "ledger": 2,
    "taps": 3,
    "unreadable": 3,
    "rules": 2,
    "reload": 2,
    "legacy": 3,
    "health": 2,
    "exposition": 2,
    "_librdkafka": 3,
    "peek": 3,
    "beginnings": 4,
    "source": 5,
    "sinks": 3,
    "sinks.redis_control": 3,
    "sinks.kafka": 4,
    "sinks.redis": 4,
    "engine": 5,
    "probes": 6,
    "status": 6,
    "control": 4,
    "service": 7,
    "app": 8,
    "cli": 9,
    "__main__": 10,
    "client": 4,
}
# Types only: what the .pyi of a lower room names.
PEERS = {("_fastpath", "rules")}


def module_of(path: Path) -> str:
    parts = path.relative_to(DAEMON).with_suffix("").parts
    if parts[0] in ("_hot", "_edge"):
        return "_fastpath" if parts[0] == "_hot" else "_librdkafka"
    name = ".".join(parts)
    return name.removesuffix(".__init__") if name != "__init__" else name


def group_of(module: str) -> str:
    """Modules of the command line, and those of the client library, stand at one level and may import each other."""
    return next((group for group in ("cli", "client") if module == group or module.startswith(f"{group}.")), module)


def level_of(module: str) -> int:
    return LEVELS[group_of(module)]


def imported(path: Path) -> set[str]:
    """The modules of ingestd that a source names in its imports and cimports."""
    text = path.read_text()
    found = set(re.findall(r"^\s*(?:from|import|cimport)\s+ingestd\.([\w.]+)", text, re.M))
    for names in re.findall(r"^\s*from ingestd import ([\w, ]+)", text, re.M):
        found |= {name.strip() for name in names.split(",")} - {"__version__"}
    for names in re.findall(r"^\s*from ingestd\.cli import ([\w, ]+)", text, re.M):
        found |= {f"cli.{name.strip()}" for name in names.split(",")}
    return found


@pytest.mark.parametrize(
    "path",
    [p for p in sorted(DAEMON.rglob("*.py*")) + NATIVE if p.suffix in (".py", ".pyx", ".pxi", ".pxd")],
    ids=lambda p: str(p.relative_to(DAEMON)),
)
def test_imports_go_down_only(path: Path):
    own = module_of(path)
    for name in imported(path):
        below = level_of(name) < level_of(own)
        assert below or group_of(name) == group_of(own) or (own, name) in PEERS, f"{own} imports {name}"


def test_every_module_has_a_level():
    unknown = {module_of(p) for p in DAEMON.rglob("*.py")} - set(LEVELS)
    assert {name for name in unknown if group_of(name) == name} == set()


@pytest.mark.parametrize("path", SOURCES + NATIVE, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_and_no_line_is_too_long(path: Path):
    lines = path.read_text().splitlines()
    assert len(lines) <= FILE_LINES_MAX
    assert [number for number, line in enumerate(lines, 1) if len(line) > LINE_MAX] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_function_is_too_long_and_every_module_says_what_it_is(path: Path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module has no docstring"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, node.name


@pytest.mark.parametrize("path", [p for p in SOURCES if DAEMON in p.parents], ids=lambda p: str(p.relative_to(DAEMON)))
def test_banned_words_stay_out(path: Path):
    text = path.read_text()
    assert not re.search(r"except Exception|except:|FIX" + r"ME|TO" + r"DO", text)
    if "cli" not in path.parts:
        assert "print(" not in text
        # The command line is an edge itself.
        assert "time.time(" not in text or path.name in {"app.py", "probes.py", "logs.py"}, "wall time is an argument"


@pytest.mark.parametrize("path", NATIVE, ids=lambda p: str(p.relative_to(DAEMON)))
def test_native_sources_keep_bounds_checks_and_have_no_compile_time_names(path: Path):
    assert not re.search(r"boundscheck\s*=\s*False|^\s*(DEF|IF) ", path.read_text(), re.M)


@pytest.mark.parametrize("name", ["_fastpath", "_librdkafka"])
def test_a_stub_names_what_its_module_has(name: str):
    folder = {"_fastpath": "_hot", "_librdkafka": "_edge"}[name]
    text = "\n".join(p.read_text() for p in [DAEMON / f"{name}.pyx", *sorted((DAEMON / folder).glob("*.pxi"))])
    public = set(re.findall(r"^(?:def|class|cdef class) (\w+)", text, re.M))
    stub = set(re.findall(r"^(?:def|class) (\w+)", (DAEMON / f"{name}.pyi").read_text(), re.M))
    assert public - stub == {"DecodeUnjudged", "texts_of"} & public
    assert stub - public == set()


def test_every_module_is_used():
    used = set().union(*(imported(p) for p in DAEMON.rglob("*.py*") if p.suffix in (".py", ".pyx")))
    used |= {f"cli.{verb.replace('-', '_')}" for verb in VERBS} | {"__init__", "__main__", "cli", "client"}
    used |= {"sinks"}
    # What stands in the client library is for other people's programs.
    unused = {module_of(p) for p in DAEMON.rglob("*.py")} - used
    assert {name for name in unused if group_of(name) != "client"} == set()


def test_the_wheel_has_every_package_and_the_source_archive_every_native_source():
    packages = {".".join(("ingestd", *p.parent.relative_to(DAEMON).parts)) for p in DAEMON.rglob("__init__.py")}
    listed = re.search(r"packages=\[(.*?)\]", (ROOT / "setup.py").read_text(), re.S)
    assert set(re.findall(r"[\w.]+", listed[1])) == packages
    (taken,) = re.findall(r"^recursive-include daemon (.*)$", (ROOT / "MANIFEST.in").read_text(), re.M)
    assert {p.suffix for p in NATIVE} | {".pyi"} <= {Path(pattern).suffix for pattern in taken.split()}
