"""The table of metrics in docs/monitoring/README.md. METRICS in, Markdown out; run as a module it writes the file."""

from prometheus_client import ProcessCollector

from ingestd.telemetry.metrics import METRICS
from tests.support.paths import ROOT

FOLDER = ROOT / "docs" / "monitoring"
BEGIN, END = "<!-- made by python -m tests.support.monitoring -->\n", "<!-- end -->\n"


def table() -> str:
    rows = ["| metric | kind | labels | what it says |", "|---|---|---|---|"]
    for name, metric in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{name}` | {metric.kind} | {labels} | {metric.help} |")
    for family in ProcessCollector(registry=None).collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append(f"| `{name}` | {family.type} | | {family.documentation} |")
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    """The document with the table as it is to be."""
    head, rest = text.split(BEGIN)
    return head + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    path = FOLDER / "README.md"
    path.write_text(with_table(path.read_text()))
