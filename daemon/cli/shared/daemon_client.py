"""Talks to a running daemon over its control socket or its HTTP address."""

import http.client
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from ...config.loading import load
from ...config.schema import Config
from ...errors import ConfigError, IngestdError
from .messages import printable

ANSWER_TIMEOUT_S: Final = 10.0
PORT_MAX: Final = 65535
# Where the unit's daemon has it, for who gives no config.
UNIT_SOCKET: Final = "/run/ingestd/control.sock"
F = TypeVar("F", bound=Callable[..., Any])


class DaemonAway(IngestdError):
    """No daemon answers there, or it refuses. The text says where, and the mend."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the path of a socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class DaemonClient:
    """One daemon. `place`: the path of its control socket, or HOST:PORT. Runs on: the caller's thread, which waits."""

    def __init__(self, place: str) -> None:
        self.place = place

    def _connect(self) -> http.client.HTTPConnection:
        if self.place.startswith("/"):
            return _UnixConnection(self.place, ANSWER_TIMEOUT_S)
        host, _, port = self.place.rpartition(":")
        return http.client.HTTPConnection(host.strip("[]"), int(port), timeout=ANSWER_TIMEOUT_S)

    @contextmanager
    def _asked(self, method: str, path: str, body: Any) -> Iterator[http.client.HTTPResponse]:
        """A good answer. Whatever fails while it is read is the daemon's too."""
        with closing(self._connect()) as connection:
            try:
                connection.request(method, path, json.dumps(body) if body is not None else None)
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last: no name of a host
                raise DaemonAway(f"no daemon answers at {self.place}: {error}; is it running?") from error
            with answer:
                try:
                    if answer.status >= 400:
                        words = answer.read().decode("utf-8", "replace").strip() or f"{answer.status} {answer.reason}"
                        raise DaemonAway(f"the daemon at {self.place} refuses: {words}")
                    yield answer
                except (OSError, http.client.HTTPException) as error:
                    raise DaemonAway(f"the daemon at {self.place} closed the connection: {error}") from error
                except ValueError as error:
                    raise DaemonAway(f"what answers at {self.place} is no daemon: {error}") from error

    def json(self, method: str, path: str, body: Any = None) -> Any:
        with self._asked(method, path, body) as answer:
            return json.loads(answer.read())

    def lines(self, method: str, path: str, body: Any = None) -> Iterator[Any]:
        """JSON lines as they come, until the daemon ends them."""
        with self._asked(method, path, body) as answer:
            while line := answer.readline():
                yield json.loads(line)


def place_options(command: F) -> F:
    """`-c` and `--at`, for a verb that talks to a daemon."""
    at = click.option("--at", metavar="SOCKET|HOST:PORT", help="The daemon's control socket, or its http.listen.")
    config = click.option(
        "-c", "--config", "config_path", metavar="FILE", help="The daemon's config, which says where it listens."
    )
    return config(at(command))


def _place(at: str) -> str:
    host, _, port = at.rpartition(":")
    if "/" in at:
        return str(Path(at).absolute())
    if host and port.isascii() and port.isdigit() and 0 < int(port) <= PORT_MAX and printable(host) == host:
        return at
    raise click.UsageError(f"--at {at!r} is neither HOST:PORT nor the path of a socket")


def find(config_path: str | None, at: str | None, *, control_only: bool) -> DaemonClient:
    """The daemon that is meant. `control_only`: what is asked for is not answered by http.listen."""
    if at is not None:
        return DaemonClient(_place(at))
    if config_path is None and "INGESTD_CONFIG" not in os.environ and Path(UNIT_SOCKET).exists():
        return DaemonClient(UNIT_SOCKET)
    try:
        config: Config = load(config_path)
    except ConfigError:
        if config_path is not None:
            raise
        raise DaemonAway("which daemon? give its config with -c, or its socket with --at") from None
    place = config.control.socket_path()
    if place is None and Path(UNIT_SOCKET).exists():
        place = UNIT_SOCKET
    if place is None and not control_only:
        place = config.http.listen
    if place is None:
        raise DaemonAway("this daemon has no control socket: set control.socket, and restart it")
    return DaemonClient(place)
