"""`ingestd tap`: events as they pass through a running daemon. A match in; events out, until it is enough."""

from contextlib import closing
from typing import Any

import click

from ..events.vocabulary import LEVEL_ALIASES, LEVEL_NAMES, TYPE_ALIASES, TYPE_NAMES
from .shared import streams
from .shared.daemon_client import find, place_options
from .shared.messages import Choice, note, printable
from .shared.output import Output, write_json_line

LEVEL_STYLES = {"error": "red", "fatal": "bold red", "warning": "yellow", "debug": "dim"}
VERDICT_STYLES = {"routed": "green", "dropped": "yellow", "dead": "red"}


class LabelValue(click.ParamType):
    """NAME=VALUE."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, equals, wanted = value.partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name, wanted


def match_of(
    types: tuple[str, ...],
    levels: tuple[str, ...],
    services: tuple[str, ...],
    components: tuple[str, ...],
    labels: tuple[tuple[str, str], ...],
    correlation_ids: tuple[str, ...],
) -> dict[str, Any]:
    """The match form of a rule: AND between the keys, OR within."""
    by_name: dict[str, list[str]] = {}
    for name, value in labels:
        by_name.setdefault(name, []).append(value)
    return {
        "types": types,
        "levels": levels,
        "services": services,
        "components": components,
        "labels": by_name,
        "correlation_ids": correlation_ids,
    }


def show(console: Output, row: dict[str, Any]) -> None:
    """One event on one line, its fate at the end."""
    fate = (row["verdict"], VERDICT_STYLES[row["verdict"]])
    where = f"  {row['source_topic']}-{row['partition']}@{row['offset']}"
    if "event" in row and isinstance(row["event"], dict):
        event = row["event"]
        level = str(event.get("level", "")).lower()
        parts: list[Any] = [
            (str(event.get("timestamp", ""))[:23].ljust(24), "dim"),
            (f"{level:8}", LEVEL_STYLES.get(level, "")),
            f"{event.get('type', '')!s:7}{event.get('service', '')!s}/{event.get('component', '')!s}  ",
            f"{event.get('message', '')!s}  ",
        ]
    else:
        parts = [f"{row.get('text', row.get('event'))!s}  "]
    reason = f" {row['fault']}: {row['reason']}" if "fault" in row else f" -> {', '.join(row['topics'])}"
    # Whatever stands in an event, it is no command for the terminal.
    shown = [printable(part) if isinstance(part, str) else (printable(part[0]), part[1]) for part in parts]
    console.line(*shown, fate, printable(reason), (where, "dim"))


@click.command("tap")
@place_options
@click.option(
    "--type",
    "types",
    multiple=True,
    type=Choice([*TYPE_NAMES, *TYPE_ALIASES]),
    help="May be repeated, as all.",
)
@click.option("--level", "levels", multiple=True, type=Choice([*LEVEL_NAMES, *LEVEL_ALIASES], case_sensitive=False))
@click.option("--service", "services", multiple=True)
@click.option("--component", "components", multiple=True)
@click.option("--label", "labels", multiple=True, type=LabelValue(), help="A label with its value.")
@click.option("--correlation-id", "correlation_ids", multiple=True)
@click.option("--rate", default=10, show_default=True, type=click.IntRange(1, 1000), help="Events a second at most.")
@click.option("--count", type=click.IntRange(1), help="End after so many events.")
@click.option("--dead", is_flag=True, help="Bad events too, whatever the match is.")
@click.option("--mask", multiple=True, metavar="PATH", help="Hide a value, such as message or labels.user.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(
    config_path: str | None,
    at: str | None,
    types: tuple[str, ...],
    levels: tuple[str, ...],
    services: tuple[str, ...],
    components: tuple[str, ...],
    labels: tuple[tuple[str, str], ...],
    correlation_ids: tuple[str, ...],
    rate: int,
    count: int | None,
    dead: bool,
    mask: tuple[str, ...],
    as_json: bool,
) -> int:
    """Show events as they pass through a running daemon.

    They are picked by the match form of a rule: AND between the options, OR within one. At most --rate a second are
    shown, spread over what comes. Masked values never leave the daemon. Ends with Ctrl-C, or after --count.
    """
    body = {
        "match": match_of(types, levels, services, components, labels, correlation_ids),
        "rate": rate,
        "dead": dead,
        "mask": mask,
    }
    console = Output()
    seen = shown = 0
    begun = False
    try:
        with closing(find(config_path, at, control_only=True).lines("POST", "/tap", body)) as rows:
            for row in rows:
                begun = True
                if "seen" in row and "verdict" not in row:
                    seen = row["seen"]
                    continue
                shown += 1
                if as_json:
                    write_json_line(row)
                else:
                    show(console, row)
                if streams.reader_gone() or (count is not None and shown >= count):
                    break
    finally:
        if begun and not as_json:
            note(f"{shown:,} shown of {max(seen, shown):,} that matched")
    return 0
