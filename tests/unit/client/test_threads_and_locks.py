"""The table of threads and locks in the docstring of ingestd.client names all; each lock says what it guards."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import ingestd.client as client

FOLDER = Path(client.__file__).parent
LOCKS = {"Lock", "RLock", "Condition", "Event", "Semaphore"}


def made(kinds: set[str]) -> Iterator[tuple[str, Path, int, ast.Call]]:
    """`Class._name` or `module._name` of each assignment of a `threading.<kind>()`, with its source and line."""
    for path in sorted(FOLDER.rglob("*.py")):
        tree = ast.parse(path.read_text())
        owners = {child: top for top in tree.body if isinstance(top, ast.ClassDef) for child in ast.walk(top)}
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
                continue
            call = ast.unparse(node.value.func)
            if call in {f"threading.{kind}" for kind in kinds}:
                (target,) = node.targets
                owner = owners[node].name if node in owners else path.stem  # type: ignore[attr-defined]
                yield f"{owner}.{ast.unparse(target).removeprefix('self.')}", path, node.lineno, node.value


def in_table() -> set[str]:
    return set(re.findall(r"^    (\w+\.\w+) {2,}", client.__doc__ or "", re.M))


def test_every_lock_is_in_the_table():
    # What `publish` makes for itself and for one call alone is no lock between threads of the library.
    assert {name for name, *_ in made(LOCKS)} - {"Producer.reported"} == in_table()


def test_every_lock_says_what_it_guards_where_it_is_first_made():
    first: dict[str, tuple[Path, int]] = {}
    for name, path, line, _ in made(LOCKS):
        first.setdefault(name, (path, line))
    silent = []
    for name, (path, line) in first.items():
        above = "\n".join(path.read_text().splitlines()[max(0, line - 7) : line])
        if name != "Producer.reported" and not re.search(r"# .*(Guards|This lock)|This lock", above):
            silent.append(name)
    assert silent == []


def test_every_thread_is_in_the_table():
    sources = "\n".join(path.read_text() for path in FOLDER.rglob("*.py"))
    names = set(re.findall(r'(?:thread_name_prefix|name)="(ingestd-\w+)"', sources))
    assert names and names == set(re.findall(r"^    (ingestd-\w+)", client.__doc__ or "", re.M))
