"""A verb on a terminal: runs a program on a pty of a given size and reads what its screen shows."""

import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.cells import cell_len

from tests.support.wait import MULTIPLIER

INGESTD = (sys.executable, "-m", "ingestd")
# What Python and the terminal libraries would read of the machine that runs the tests.
FOREIGN = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PYTHONIOENCODING", "PYTHONUTF8", "TTY_COMPATIBLE")
UTF_8 = {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TERM": "xterm"}
_SEQUENCE = re.compile(r"\x1b(?:\[([0-9;?]*)([A-Za-z])|\].*?(?:\x07|\x1b\\)|[()][0-9A-B]|[=>78])", re.S)


def environment(**over: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in FOREIGN} | UTF_8 | over


class Screen:
    """What stands on a terminal without an end below: text, carriage returns, moves up, erased lines."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: list[list[str]] = [[]]
        self.row = self.column = 0
        self.cursor_shown = True
        self.unknown: list[str] = []

    def feed(self, text: str) -> "Screen":
        at = 0
        for found in _SEQUENCE.finditer(text):
            self._write(text[at : found.start()])
            self._obey(found)
            at = found.end()
        self._write(text[at:])
        return self

    def _write(self, text: str) -> None:
        for char in text:
            if char == "\n":
                self._to_row(self.row + 1)
            elif char == "\r":
                self.column = 0
            elif not char.isprintable():
                self.unknown.append(char)
            else:
                self._put(char)

    def _put(self, char: str) -> None:
        cells = cell_len(char)
        if self.column + cells > self.columns:
            self._to_row(self.row + 1)
            self.column = 0
        line = self.rows[self.row]
        line.extend(" " * (self.column + cells - len(line)))
        line[self.column : self.column + cells] = [char] + [""] * (cells - 1)
        self.column += cells

    def _to_row(self, row: int) -> None:
        self.row = max(0, row)
        while len(self.rows) <= self.row:
            self.rows.append([])

    def _obey(self, found: re.Match[str]) -> None:
        words, letter = found[1] or "", found[2]
        count = int(words) if words.isdigit() else 1
        match letter:
            case "m" | None:
                pass
            case "A":
                self._to_row(self.row - count)
            case "K":
                self.rows[self.row] = [] if words == "2" else self.rows[self.row][: self.column]
            case "h" | "l" if words == "?25":
                self.cursor_shown = letter == "h"
            case _:
                self.unknown.append(found[0])

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self.rows]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Terminal:
    """A program whose three streams, or some of them, are a terminal."""

    def __init__(
        self,
        words: tuple[str, ...],
        columns: int,
        env: dict[str, str],
        *,
        rows: int = 40,
        only_stdout: bool = False,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        def begin() -> None:
            if not only_stdout:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            prepare()

        self.columns = columns
        self.raw = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.modes = termios.tcgetattr(slave)
        self._slave = slave
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL if only_stdout else slave,
            stdout=slave,
            stderr=subprocess.PIPE if only_stdout else slave,
            env=env,
            start_new_session=True,
            preexec_fn=begin,
        )

    def read_until(self, done: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
        """Take what comes until the state is there."""
        deadline_s = time.monotonic() + timeout_s * MULTIPLIER
        while not done():
            assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}\n{self.text()}"
            self._take(0.05)

    def _take(self, timeout_s: float) -> bool:
        if not select.select([self._master], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError as error:
            if error.errno == errno.EIO:
                return False
            raise
        self.raw += data
        return bool(data)

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def press_ctrl_c(self) -> None:
        self.type(b"\x03")

    def wait(self, timeout_s: float = 60) -> int:
        self.read_until(lambda: self.process.poll() is not None, "the program has ended", timeout_s)
        while self._take(0):
            pass
        return int(self.process.returncode)

    def text(self) -> str:
        return self.raw.decode("utf-8", "backslashreplace").replace("\r\n", "\n")

    def screen(self) -> Screen:
        return Screen(self.columns).feed(self.raw.decode("utf-8", "backslashreplace"))

    def modes_are_kept(self) -> bool:
        return termios.tcgetattr(self._slave) == self.modes

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)
        if self.process.stderr is not None:
            self.process.stderr.close()
        os.close(self._master)
        os.close(self._slave)


@contextmanager
def terminal(*words: str, columns: int = 80, env: dict[str, str] | None = None, **options: bool) -> Iterator[Terminal]:
    """`ingestd` with these words on a terminal, until the block ends."""
    opened = Terminal((*INGESTD, *words), columns, env or environment(), **options)
    try:
        yield opened
    finally:
        opened.close()
