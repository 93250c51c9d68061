"""The house is in order: imports go down only, nothing is too long, words that were banned stay out."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from ingestd.cli import VERBS
from tests.support.paths import ROOT

DAEMON = ROOT / "daemon"
OTHERS = [
    path for place in ("bench/*.py", "tests/**/*.py", "examples/**/*.py", "tools/*.py") for path in ROOT.glob(place)
]
SOURCES = sorted([*DAEMON.rglob("*.py"), *OTHERS, ROOT / "setup.py"])
NATIVE = sorted([*DAEMON.glob("*.pyx"), *DAEMON.glob("*.pxd"), *DAEMON.rglob("*.pxi")])
FUNCTION_LINES_MAX, FILE_LINES_MAX, LINE_MAX = 70, 500, 120

# A folder may import those of a lower number; its own modules may import each other, but not in a circle.
LEVELS = {
    "": 0,
    "errors": 0,
    "backoff": 0,
    "_abi": 0,
    "_fastpath": 1,
    "_librdkafka": 2,
    "rate_limited_log": 0,
    "events": 2,
    "telemetry": 2,
    "config": 3,
    "client": 4,
    "pipeline": 4,
    "observers": 5,
    "diagnostics": 6,
    "reload": 6,
    "app": 7,
    "cli": 8,
    "__main__": 9,
}
# Types only: what the .pyi of a lower module names.
TYPES_ONLY = {("_fastpath", "events.rules")}


def module_of(path: Path) -> str:
    parts = path.relative_to(DAEMON).with_suffix("").parts
    if path.suffix == ".pxi":
        return f"_{parts[0]}"
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def folder_of(module: str) -> str:
    return module.split(".")[0]


def imported(path: Path) -> set[str]:
    """The modules of ingestd that a source names in its imports and cimports, all of which are relative."""
    text = re.sub(r"\(\s*([^)]*?)\s*\)", lambda found: found[1].replace("\n", " "), path.read_text())
    package = module_of(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    found = set()
    for dots, module, names in re.findall(r"^\s*from (\.+)([\w.]*) c?import ([^#\n]+)", text, re.M):
        base = [*package[: len(package) - len(dots) + 1], *filter(None, module.split("."))]
        for name in filter(str.strip, names.split(",")):
            whole = [*base, name.split(" as ")[0].strip()]
            found.add(".".join(whole if is_module(whole) else base))
    return found - {""}


def is_module(parts: list[str]) -> bool:
    place = DAEMON.joinpath(*parts)
    return any(place.with_suffix(suffix).is_file() for suffix in (".py", ".pyx")) or (place / "__init__.py").is_file()


def importing_sources() -> list[Path]:
    return sorted([*DAEMON.rglob("*.py"), *DAEMON.rglob("*.pyi"), *NATIVE])


@pytest.mark.parametrize("path", importing_sources(), ids=lambda p: str(p.relative_to(DAEMON)))
def test_imports_go_down_only(path: Path):
    own = module_of(path)
    for name in imported(path):
        if (own, name) not in TYPES_ONLY and folder_of(name) != folder_of(own):
            assert LEVELS[folder_of(name)] < LEVELS[folder_of(own)], f"{own} imports {name}"


def test_no_modules_import_each_other_in_a_circle():
    arrows: dict[str, set[str]] = {}
    for path in importing_sources():
        own = module_of(path)
        arrows.setdefault(own, set()).update(name for name in imported(path) if (own, name) not in TYPES_ONLY)
    tuple(TopologicalSorter({own: names - {own} for own, names in arrows.items()}).static_order())


def test_every_folder_has_a_level():
    assert {folder_of(module_of(path)) for path in importing_sources()} == set(LEVELS)


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
        edges = {"app.py", "health_reports.py", "logs.py"}
        assert "time.time(" not in text or path.name in edges, "wall time is an argument"


@pytest.mark.parametrize("path", NATIVE, ids=lambda p: str(p.relative_to(DAEMON)))
def test_native_sources_keep_bounds_checks_and_have_no_compile_time_names(path: Path):
    assert not re.search(r"boundscheck\s*=\s*False|^\s*(DEF|IF) ", path.read_text(), re.M)


@pytest.mark.parametrize("name", ["_fastpath", "_librdkafka"])
def test_a_stub_names_what_its_module_has(name: str):
    folder = name.removeprefix("_")
    text = "\n".join(p.read_text() for p in [DAEMON / f"{name}.pyx", *sorted((DAEMON / folder).glob("*.pxi"))])
    public = set(re.findall(r"^(?:def|class|cdef class) (\w+)", text, re.M))
    stub = set(re.findall(r"^(?:def|class) (\w+)", (DAEMON / f"{name}.pyi").read_text(), re.M))
    assert public - stub == {"DecodeUnjudged", "texts_of"} & public
    assert stub - public == set()


def test_every_module_is_used():
    used = set().union(*(imported(p) for p in importing_sources()))
    used |= {f"cli.{verb.replace('-', '_')}" for verb in VERBS} | {"__main__", "cli.demo.command"}
    # What stands in the client library is for other people's programs.
    modules = {module_of(p) for p in DAEMON.rglob("*.py") if p.name != "__init__.py"}
    assert {name for name in modules - used if folder_of(name) != "client"} == set()


def test_every_folder_is_a_package_and_the_source_archive_has_every_native_source():
    folders = {path.parent for path in DAEMON.rglob("*.py")}
    assert {folder for folder in folders if not (folder / "__init__.py").is_file()} == set()
    (taken,) = re.findall(r"^recursive-include daemon (.*)$", (ROOT / "MANIFEST.in").read_text(), re.M)
    assert {p.suffix for p in NATIVE} | {".pyi"} <= {Path(pattern).suffix for pattern in taken.split()}
