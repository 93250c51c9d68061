"""The API pages in docs/api, made from signatures and docstrings. The package in, Markdown out; as a module it writes.

python -m tests.support.api_pages
"""

import inspect
from collections.abc import Iterator
from typing import Any

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


def signature_of(thing: Any) -> str:
    try:
        text = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return ""
    return text.replace("typing.", "").replace("ingestd.client.", "").replace("'", "")


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
    lines = [f"## {name}", "", f"    {name}{signature_of(thing)}", "", doc_of(thing), ""]
    if inspect.isclass(thing):
        for member, value in members(thing):
            told = value.fget if isinstance(value, property) else value
            call = "" if isinstance(value, property) else signature_of(value)
            lines += [f"### {name}.{member}", "", f"    {member}{call}", "", doc_of(told), ""]
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
    FOLDER.mkdir(exist_ok=True)
    for file, text in pages().items():
        (FOLDER / file).write_text(text)
