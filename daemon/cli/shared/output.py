"""What every verb writes: JSON that is pure on every terminal, text that fits its width, notes on standard error."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

# Without a terminal lines are as long as they are: who reads them cuts them as he likes.
UNBOUNDED_COLUMNS: Final = 10_000
# For pictures, which would become as wide as they are allowed to be.
PICTURE_COLUMNS: Final = 100
COLUMNS_MIN: Final = 20
COLUMNS_DEFAULT: Final = 80
INDENT: Final = "  "


class Output(Console):
    """A rich console that takes text as it is, and whose width is that of the stream which it writes to."""

    def __init__(self, *, to_stderr: bool = False) -> None:
        stream = sys.stderr if to_stderr else sys.stdout
        self.on_terminal = bool(stream.isatty())
        columns = _columns(stream.fileno() if self.on_terminal else None)
        # Markup and emoji would read what stands in brackets or between colons, and events hold both.
        super().__init__(
            stderr=to_stderr,
            width=columns,
            highlight=False,
            markup=False,
            emoji=False,
            force_terminal=None if self.on_terminal or os.environ.get("FORCE_COLOR") else False,
        )

    @property
    def can_move(self) -> bool:
        """Whether pictures may be drawn over each other."""
        return self.on_terminal and not self.is_dumb_terminal

    @property
    def text_columns(self) -> int | None:
        """What lines are to fit in; None: they are not cut."""
        return self.width if self.on_terminal else None

    @property
    def picture_columns(self) -> int:
        return self.width if self.on_terminal else min(self.width, PICTURE_COLUMNS)

    def glyph(self, mark: str, plain: str) -> str:
        """`mark` where the terminal can show it, else the word."""
        return mark if self.encoding.startswith("utf") else plain

    def line(self, *parts: str | tuple[str, str] | Text) -> None:
        """One line, never cut: a terminal breaks it itself, so that it can be copied whole."""
        self.print(Text.assemble(*parts), soft_wrap=True)

    def progress(self, text: str) -> None:
        """How far it is: on a terminal in place of what was said before, else a line below the last."""
        if not self.can_move:
            self.line(text)
            return
        said = Text(text)
        # One cell less: in the last one some terminals go on to the next line.
        said.truncate(self.width - 1, overflow="ellipsis", pad=True)
        self.print(said, end="\r", no_wrap=True)

    def on_broken_pipe(self) -> None:
        """Never reached: streams.OutputEnded comes first. Rich's own would end the process with 1."""
        raise BrokenPipeError


def _columns(terminal: int | None) -> int:
    """$COLUMNS, else the width of the terminal; one that does not tell it has 80."""
    named = os.environ.get("COLUMNS", "")
    if named.isascii() and named.isdigit() and int(named):
        return max(COLUMNS_MIN, int(named))
    if terminal is None:
        return UNBOUNDED_COLUMNS
    try:
        return max(COLUMNS_MIN, os.get_terminal_size(terminal).columns or COLUMNS_DEFAULT)
    except OSError:
        return COLUMNS_DEFAULT


def write_json(value: Any) -> None:
    """One JSON document on standard output, for people to read too."""
    _write_bytes(json.dumps(value, indent=2).encode() + b"\n")


def write_json_line(value: Any) -> None:
    """One JSON object on a line of its own, seen at once by whoever reads. bytes: it is JSON already."""
    _write_bytes((value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n")


def write_data(text: str) -> None:
    """What a program will read, such as a file of configuration: UTF-8, whatever the terminal's encoding is."""
    _write_bytes(text.encode("utf-8", "backslashreplace"))


def _write_bytes(data: bytes) -> None:
    # Not by the text layer, which writes in the terminal's encoding.
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(data.decode())
    else:
        sys.stdout.flush()
        buffer.write(data)
    sys.stdout.flush()


def show_table(
    console: Output,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Sequence[str] | None = None,
    *,
    title: str = "",
) -> None:
    """Rows with their first column as name and figures after it, such that nothing is cut.

    Where they are too wide for the terminal, each row takes some lines: its name, and its figures with theirs.
    """
    for renderable in table(head, rows, console.width, styles, title=title):
        console.print(renderable, soft_wrap=isinstance(renderable, Text))


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    columns: int,
    styles: Sequence[str] | None = None,
    *,
    title: str = "",
) -> Iterator[RenderableType]:
    """As `show_table`, for a picture of `columns`."""
    styles = styles or [""] * len(rows)
    if title:
        yield Text(title, "bold")
    widths = [
        max([*(cell_len(part) for part in name.split("\n")), *(cell_len(row[at]) for row in rows)])
        for at, name in enumerate(head)
    ]
    if sum(widths) + 2 * (len(widths) - 1) <= columns:
        grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for at, name in enumerate(head):
            grid.add_column(name, justify="right" if at else "left", vertical="bottom", no_wrap=True)
        for row, style in zip(rows, styles, strict=True):
            grid.add_row(*map(Text, row), style=style)
        yield grid
        return
    for row, style in zip(rows, styles, strict=True):
        yield Text(row[0], style)
        figures = [f"{name} {value}" for name, value in zip(head[1:], row[1:], strict=True) if value]
        yield from folded([figure.replace("\n", " ") for figure in figures], columns, style)


def folded(words: Iterable[str], columns: int, style: str = "", between: str = "   ") -> Iterator[Text]:
    """Words side by side as far as the columns reach, none of them broken; indented."""
    line = ""
    for word in words:
        longer = f"{line}{between}{word}" if line else INDENT + word
        if line and cell_len(longer) > columns:
            yield Text(line, style)
            longer = INDENT + word
        line = longer
    if line:
        yield Text(line, style)


class Picture:
    """Pictures that follow each other: in the same place on a terminal that can, else one below the other."""

    def __init__(self, console: Output, live: Live | None) -> None:
        self._console, self._live = console, live
        self._count = 0

    def show(self, picture: RenderableType) -> None:
        if self._live is not None:
            self._live.update(picture, refresh=True)
            return
        if self._count:
            self._console.print()
        self._count += 1
        self._console.print(picture)
        sys.stdout.flush()


@contextmanager
def pictures(console: Output) -> Iterator[Picture]:
    """The terminal is as it was afterwards, however it ends."""
    if not console.can_move:
        yield Picture(console, None)
        return
    with Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop") as live:
        yield Picture(console, live)
