"""Writes the table of config keys in docs/configuration.md from the fields of the schema; run it as a module."""

import json
from typing import Any

from ingestd.config.keys import Field, keys
from ingestd.config.schema import Config
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "configuration.md"
BEGIN, END = "<!-- made by python -m tests.support.config_keys -->\n", "<!-- end -->\n"


def default_text(value: Any) -> str:
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


def range_text(field: Field) -> str:
    return "" if field.range is None else f"{field.range} {field.range.unit}"


def table() -> str:
    rows = ["| key | default | range | at a reload | what it is |", "|---|---|---|---|---|"]
    for path, field in keys(Config):
        if field.key is not None:
            when = "changes" if field.key.reload else "needs a restart"
            rows.append(
                f"| `{path}` | {default_text(field.default)} | {range_text(field)} | {when} | {field.key.meaning} |"
            )
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    """The document with the table as it is to be."""
    head, rest = text.split(BEGIN)
    return head + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
