"""Makes the API pages in docs/api from signatures and docstrings.

python -m tests.support.api_pages
"""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

import ingestd.client as client
from tests.support.paths import ROOT

FOLDER = ROOT / "docs" / "api"
MADE = "<!-- made by python -m tests.support.api_pages from the docstrings; a test holds them equal -->\n"
# Page -> its title and the names on it, in the order in which one reads about them.
PAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "producer": (
        "Publishing",
        (
            "Producer",
            "AsyncProducer",
            "LogHandler",
            "Delivery",
            "PublishError",
            "DeliveryFailed",
            "BatchFailed",
            "QueueFull",
            "ProducerClosed",
        ),
    ),
    "consumer": (
        "Consuming",
        ("Consumer", "AsyncConsumer", "EventFilter", "Reject", "ConsumerFailed", "DeadLetterFailed"),
    ),
    "service": ("Traces and correlation", ("EventStreamingService", "AsyncEventStreamingService")),
    "context": (
        "Context",
        ("TraceContext", "HeaderNames", "bind", "current", "attach", "detach", "inject", "extract"),
    ),
    "store": ("Looking up", ("EventStore", "AsyncEventStore")),
    "events": ("Events", ("Event", "EventType", "Level", "InvalidEvent")),
}


def doc_of(thing: Any) -> str:
    return inspect.cleandoc(thing.__doc__ or "")


def type_arguments(kind: Any) -> dict[Any, Any]:
    """What stands for the type variables of a class's generic bases, such as the result of `publish_*`."""
    found: dict[Any, Any] = {}
    for owner in getattr(kind, "__mro__", ()):
        for base in vars(owner).get("__orig_bases__", ()):
            names = getattr(get_origin(base), "__parameters__", ())
            found |= {name: value for name, value in zip(names, get_args(base), strict=False) if name not in found}
    return found


def signature_of(thing: Any, types: Mapping[Any, Any]) -> str:
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    text = str(signature.replace(return_annotation=types.get(signature.return_annotation, signature.return_annotation)))
    text = text.replace("typing.", "").replace("ingestd.client.", "").replace("'", "")
    return re.sub(r"\*\*options: \*<class ([\w.]+)>", r"**options: Unpack[\1]", text)


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties, inherited ones of this package too, in the order of the sources."""
    seen: set[str] = set()
    for owner in kind.__mro__:
        if not owner.__module__.startswith("ingestd"):
            continue
        for name, value in vars(owner).items():
            if name.startswith("_") or name in seen:
                continue
            plain = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
            if inspect.isfunction(plain) or isinstance(value, property):
                seen.add(name)
                yield name, plain


def describe(name: str, thing: Any) -> str:
    """One name as Markdown: its signature, its docstring, and the same of each public member."""
    types = type_arguments(thing)
    lines = [f"## {name}", "", f"    {name}{signature_of(thing, types)}", "", doc_of(thing), ""]
    if inspect.isclass(thing):
        for member, value in members(thing):
            documented = value.fget if isinstance(value, property) else value
            call = "" if isinstance(value, property) else signature_of(value, types)
            text = doc_of(documented) or inspect.getdoc(getattr(thing, member)) or ""
            lines += [f"### {name}.{member}", "", f"    {member}{call}", "", text, ""]
    return "\n".join(lines)


def page(key: str) -> str:
    title, names = PAGES[key]
    body = "\n".join(describe(name, getattr(client, name)) for name in names)
    return f"# {title}\n\n{MADE}\n`from ingestd.client import {', '.join(names)}`\n\n{body.rstrip()}\n"


def pages() -> dict[str, str]:
    """File name -> text."""
    rows = [
        f"| [{title}]({key}.md) | {', '.join(f'`{name}`' for name in names)} |" for key, (title, names) in PAGES.items()
    ]
    index = "\n".join(["# API of ingestd.client", "", MADE, "| page | names |", "|---|---|", *rows, ""])
    return {"README.md": index} | {f"{key}.md": page(key) for key in PAGES}


def names_on_pages() -> set[str]:
    return {name for _, names in PAGES.values() for name in names}


if __name__ == "__main__":
    if sys.version_info[:2] == (3, 11):
        FOLDER.mkdir(exist_ok=True)
        for file, text in pages().items():
            (FOLDER / file).write_text(text)
    else:
        print("docs/api stays as it is: only Python 3.11 writes types as they stand there")
