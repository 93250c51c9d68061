"""Writes the tables of ARCHITECTURE.md: modules by their first lines, levels, and the index of Non-obvious markers.

Run as a module it writes the file; a test holds it equal.
"""

import ast
import re
import textwrap
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import ingestd.client
from tests.support.non_obvious import markers
from tests.support.paths import ROOT

PAGE = ROOT / "ARCHITECTURE.md"
DAEMON = ROOT / "daemon"
# In the order in which a batch meets them, then what observes it, then what stands outside of the daemon.
FOLDERS = (
    "", "pipeline", "pipeline/sinks", "fastpath", "librdkafka", "events", "config", "telemetry", "observers", "cli",
    "cli/shared", "cli/demo", "client", "client/producing", "client/consuming", "client/lookup",
)  # fmt: skip
COMMAND = "made by python -m tests.support.architecture"
# Where a file has no docstring, its first comment says what it is for.
COMMENT = re.compile(r"(?:^#.*\n)+|/\*.*?\*/", re.M | re.S)
SENTENCE = re.compile(r"(.+?)\.(?:\s|$)", re.S)


def first_line(path: Path) -> str:
    """What the module is for: the first sentence of its docstring, or of its first comment."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
    elif path.suffix == ".pyx":
        said = text.split('"""')[1]
    else:
        found = COMMENT.search(text)
        said = re.sub(r"^(?:# ?|/\*| \*/?)", "", found[0], flags=re.M) if found else ""
    sentence = SENTENCE.match(said.strip())
    assert sentence, f"{path}: its first line says what it is for, and ends with a full stop"
    return " ".join(sentence[1].split()) + "."


def listed(folder: str) -> list[Path]:
    """The sources of one folder. Its `__init__` is the folder itself; a stub says what its module says."""
    files = [path for path in (DAEMON / folder).iterdir() if path.suffix in {".py", ".pyx", ".pxi", ".h", ".pxd"}]
    stubs = {"_fastpath.pxd", "__init__.py"}
    return sorted(path for path in files if path.name not in stubs and path.name != "librdkafka_names.pxi")


def modules() -> Iterator[str]:
    yield "| module | what it is for |"
    yield "|---|---|"
    for folder in FOLDERS:
        own = DAEMON / folder / "__init__.py"
        name = f"daemon/{folder}".rstrip("/")
        said = first_line(own) if own.is_file() else f"Parts of `_{folder}.pyx`, included in it."
        yield f"| **{name}/** | **{said}** |"
        for path in listed(folder):
            yield f"| `{path.name}` | {first_line(path)} |"


def levels() -> Iterator[str]:
    from tests.tidy.test_tidy import LEVELS

    yield "| level | folders and modules |"
    yield "|---|---|"
    by_level = sorted(LEVELS.items(), key=lambda row: -row[1])
    for level, rows in groupby(by_level, key=lambda row: row[1]):
        names = ", ".join(f"`{name or '__init__'}`" for name, _ in rows)
        yield f"| {level} | {names} |"


def client_threads() -> Iterator[str]:
    """The part of the client library's docstring that has them; what is indented there is a block here."""
    text = ingestd.client.__doc__ or ""
    begin, end = text.index("Threads of its own"), text.index("A child of a fork")
    for paragraph in text[begin:end].strip().split("\n\n"):
        block = paragraph.startswith("    ")
        yield f"```\n{textwrap.dedent(paragraph)}\n```" if block else paragraph
        yield ""


def non_obvious() -> Iterator[str]:
    """By folder; what two files say is one line."""
    by_folder: dict[str, dict[str, list[str]]] = {}
    for marker in sorted(markers()):
        files = by_folder.setdefault(str(Path(marker.path).parent), {}).setdefault(marker.sentence, [])
        files.append(f"[{Path(marker.path).name}]({marker.path})")
    for folder, sentences in by_folder.items():
        yield f"**{folder}/**"
        yield ""
        for sentence, files in sentences.items():
            line = f"- {', '.join(dict.fromkeys(files))}: {sentence}."
            yield from textwrap.wrap(line, 118, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        yield ""


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "modules": modules,
    "levels": levels,
    "client threads": client_threads,
    "non-obvious": non_obvious,
}


def with_parts(text: str) -> str:
    """The document with its tables as they are to be."""
    for name, make in PARTS.items():
        head, rest = text.split(f"<!-- {name}: {COMMAND} -->\n")
        body = "\n".join(make()).strip("\n")
        text = f"{head}<!-- {name}: {COMMAND} -->\n{body}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(with_parts(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
