"""Ctrl-C, SIGTERM and SIGHUP on the command line: the verb puts everything in order, and the process ends alike.

`ingestd run` replaces these handlers by the event loop's own.
"""

import os
import signal
import threading
from typing import Final, NoReturn

EXIT_INTERRUPTED: Final = 130
# The library's calls to Kafka wait for seconds without looking at signals: then there is nothing to put in order.
STUCK_AFTER_S: Final = 0.5
IMPATIENT_COUNT: Final = 4
SHOW_CURSOR: Final = b"\x1b[?25h"


class Terminated(BaseException):
    """SIGTERM, or SIGHUP of a terminal that was closed. Raised in the main thread, as KeyboardInterrupt is."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class _Handlers:
    """Runs on: the main thread, but `_watch`, which has a thread of its own."""

    def __init__(self) -> None:
        self._handled = threading.Event()
        self._count = 0
        self._watched, self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(self._watched, True)

    def install(self) -> None:
        # One that is ignored stays ignored: `nohup`, and `&` in a script.
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._on_interrupt)
            signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
            threading.Thread(target=self._watch, name="interrupts", daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._on_termination)

    def _on_interrupt(self, number: int, frame: object) -> None:
        self._handled.set()
        self._count += 1
        if self._count == 1:
            raise KeyboardInterrupt
        # The first is being put in order, all of which has bounds: a second one would leave processes behind.
        if self._count >= IMPATIENT_COUNT:
            os._exit(EXIT_INTERRUPTED)

    def _on_termination(self, number: int, frame: object) -> None:
        self._handled.set()
        raise Terminated(number)

    def _watch(self) -> None:
        """The byte is written by the C handler at once, Python's own handler runs when the main thread comes to it."""
        while number := os.read(self._watched, 1):
            if signal.getsignal(number[0]) not in (self._on_interrupt, self._on_termination):
                continue
            if not self._handled.wait(STUCK_AFTER_S):
                if os.isatty(1):
                    os.write(1, SHOW_CURSOR)
                os._exit(EXIT_INTERRUPTED if number[0] == signal.SIGINT else 128 + number[0])
            self._handled.clear()


def set_up() -> None:
    """To be called once, before a verb begins."""
    _Handlers().install()


def end_by(number: int) -> NoReturn:
    """End as the signal would have ended this process, so that its parent sees it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise AssertionError("the signal did not end the process")
