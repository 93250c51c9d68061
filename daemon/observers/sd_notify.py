"""Tells systemd states by datagrams to $NOTIFY_SOCKET (sd_notify(3)); without that variable nothing is sent.

Forty lines of our own: sdnotify is not maintained, and systemd-python has no wheels and needs systemd's headers.
"""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

# PID 1 reads its socket at once or is stuck; the loop does not wait for it longer than this.
SEND_TIMEOUT_S: Final = 0.2
USEC_PER_S: Final = 1_000_000


def _address(name: str) -> str | None:
    """A path, or @name for the abstract namespace, as sockets want it. None for what is neither."""
    if name.startswith("/"):
        return name
    return "\0" + name[1:] if name.startswith("@") else None


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """The period in which systemd wants to hear WATCHDOG=1 from this process, or None."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    meant = environment.get("WATCHDOG_PID") in (None, str(os.getpid()))
    return int(microseconds) / USEC_PER_S if microseconds.isdecimal() and int(microseconds) and meant else None


class Notifier:
    """Runs on: the loop. Each call is one datagram; one that systemd does not take is lost, and the next one counts."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self.watchdog_s = _watchdog_s(environment) if self._address else None

    @property
    def active(self) -> bool:
        return self._address is not None

    def ready(self, status: str) -> None:
        self._send("READY=1", _status(status))

    def status(self, status: str) -> None:
        self._send(_status(status))

    def reloading(self, status: str) -> None:
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", _status(status))

    def stopping(self, status: str, limit_s: float) -> None:
        """`limit_s`: the most that the stop may take from now on, should TimeoutStopSec= be shorter."""
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(limit_s * USEC_PER_S)}", _status(status))

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
                link.settimeout(SEND_TIMEOUT_S)
                link.sendto("\n".join(assignments).encode(), self._address)
        except OSError:
            pass  # also a time-out: systemd judges by what it does not hear


def _status(text: str) -> str:
    return "STATUS=" + text.replace("\n", " ")
