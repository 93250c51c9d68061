"""Standard input, output and error of this process: open whatever the caller closed, and failing in words.

Called once, first of all, by the entry point. What a stream cannot encode is shown in plain characters, a full disk
ends the process in one place, a reader that has gone is no failure, and standard error never fails.
"""

import codecs
import io
import os
import select
import sys
from typing import Final, TextIO

STDIN, STDOUT, STDERR = 0, 1, 2
# One cell each, so that what stands in columns stays there.
PLAIN: Final = {
    "█": "#", "▒": "=", "░": ".", "━": "-", "─": "-", "│": "|", "╸": "-", "╺": "-", "·": ".", "•": "*",
    "…": "~", "→": ">", "✓": "+", "✗": "x", "–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "µ": "u",
    "×": "x", "≥": ">", "≤": "<", "\N{REPLACEMENT CHARACTER}": "?", "\N{NO-BREAK SPACE}": " ",
}  # fmt: skip
PLAIN_ERRORS: Final = "ingestd-plain"


class OutputEnded(BaseException):
    """Standard output takes nothing more, such as a full disk.

    No Exception: nobody on the way up can mend it, and rich and click would each end the process in a way of their own.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error


class _Output(io.RawIOBase):
    """A descriptor for writing. `strict`: a failure ends the process; else what cannot be written is left out."""

    def __init__(self, number: int, strict: bool) -> None:
        self._number = number
        self._strict = strict
        self.reader_gone = False

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        while True:
            try:
                return os.write(self._number, data)
            except BlockingIOError:
                # Another program has made the terminal or pipe that it shares with this one non-blocking.
                poll = select.poll()
                poll.register(self._number, select.POLLOUT)
                poll.poll()
            except BrokenPipeError:
                # As `head` does. A verb goes on to its end for its exit code, or looks whether anybody reads.
                self.reader_gone = True
                redirect(self._number)
            except OSError as error:
                if self._strict:
                    raise OutputEnded(error) from None
                return len(data)


def set_up() -> None:
    """Give the process three streams that can be used. To be called before anything opens a file."""
    _open_closed()
    codecs.register_error(PLAIN_ERRORS, _in_plain_characters)
    if sys.stdin is None:
        sys.stdin = sys.__stdin__ = open(STDIN, encoding="utf-8", closefd=False)  # noqa: SIM115 -- the process's own
    sys.stdout = sys.__stdout__ = _text(sys.stdout, STDOUT, strict=True)
    sys.stderr = sys.__stderr__ = _text(sys.stderr, STDERR, strict=False)


def _open_closed() -> None:
    # Non-obvious: a closed descriptor 0, 1 or 2 gets /dev/null before anything is opened. The next socket would get its
    # number, and a log line or a crash report would be written into a connection to Kafka.
    for number in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)


def _text(before: TextIO | None, number: int, *, strict: bool) -> TextIO:
    """The stream with the encoding and the buffering that Python chose for it; None: it was closed."""
    if before is not None:
        before.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(number, strict)),
        encoding=getattr(before, "encoding", "utf-8"),
        errors=PLAIN_ERRORS,
        line_buffering=number == STDERR or getattr(before, "line_buffering", False),
        write_through=getattr(before, "write_through", False),
    )


def _in_plain_characters(error: UnicodeError) -> tuple[str, int]:
    """What the encoding lacks: a plain character that looks alike, else an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text), error.end


def flush() -> None:
    """Write what is held. Raises OutputEnded."""
    sys.stdout.flush()


def reader_gone() -> bool:
    """Whether nobody reads standard output any more. A verb without an end asks this after each thing it has said."""
    flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Output) and raw.reader_gone


def redirect(number: int) -> None:
    """The descriptor leads nowhere from here on, so that nothing fails again at the end of the process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
