"""One HTTP server on the loop, bounded in connections, bytes and time.

The place is HOST:PORT or the path of a socket. Whoever needs another server, such as a control socket, makes one with
routes of its own.
"""

import asyncio
import errno
import logging
import os
import resource
import socket
import stat
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from ..errors import ConfigError, Problem
from .http_log import CLIENT_ERRORS, RequestLog, reason_of

# A scraper and some people; each connection has buffers of its own.
CONNECTIONS_MAX = 64
# Of the descriptors that the process may have, one server's connections take this part at most. A daemon has two of
# them, and the rest is for Kafka and Redis: those who look on must not keep it from a broker.
DESCRIPTOR_SHARE = 8
LINE_BYTES_MAX = 4096
HEADER_BYTES_MAX = 8192
BODY_BYTES_MAX = 64 * 1024
# A connection that asks nothing for this long is closed; Prometheus scrapes every 15 s to 60 s and dials again.
SILENCE_MAX_S = 10.0
KEEPALIVE_S = 75.0
ANSWER_TIMEOUT_S = 10.0
LINGER_S = 1.0
# For answers under way when the daemon stops: half to end by themselves, half to take note that they are cancelled.
STOP_TIMEOUT_S = 1.0
SOCKET_MODE = 0o660
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]
SYSTEM_WORDS = {
    errno.EADDRINUSE: "is in use by another process",
    errno.EADDRNOTAVAIL: "is no address of this machine",
    errno.EACCES: "may not be opened by this user",
    errno.ENOENT: "is in a folder that is not there",
}


def _problem(key: str, listen: str, error: OSError) -> ConfigError:
    words = SYSTEM_WORDS.get(error.errno or 0) or f"cannot be opened: {error.strerror or error}"
    return ConfigError([Problem(key, f"{listen} {words}", "choose another place, or null for none")])


def open_sockets(listen: str, key: str) -> list[socket.socket]:
    """Listening sockets for HOST:PORT, one an address, or for a path. Raises ConfigError that names `key`."""
    try:
        return [_open_path(listen, key)] if listen.startswith("/") else _open_addresses(listen)
    except OSError as error:
        raise _problem(key, listen, error) from error


def _open_addresses(listen: str) -> list[socket.socket]:
    host, _, port_text = listen.rpartition(":")
    found = socket.getaddrinfo(
        host.strip("[]"), int(port_text), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
    )
    if port_text.strip("0") == "":
        found = found[:1]  # the kernel chooses a port: two addresses would get two
    opened: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                opened.append(_listen_at(socket.socket(family, kind, protocol), address))
            except OSError as error:
                # localhost names ::1 too on machines that have no IPv6.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error
    except OSError:
        for each in opened:
            each.close()
        raise
    if not opened and missing is not None:
        raise missing
    return opened


def _listen_at(each: socket.socket, address: tuple) -> socket.socket:
    try:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if each.family == socket.AF_INET6:
            each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        each.setblocking(False)
        each.bind(address)
        # Now and not when it is served: two that are bound and do not listen do not see each other.
        each.listen(CONNECTIONS_MAX)
    except OSError:
        each.close()
        raise
    return each


def _open_path(path: str, key: str) -> socket.socket:
    """A socket file that owner and group may use. One that a daemon left behind when it was killed is removed."""
    _remove_stale(path, key)
    each = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        each.setblocking(False)
        each.bind(path)
        os.chmod(path, SOCKET_MODE)  # before it listens, so that nobody else can be quicker
        each.listen(CONNECTIONS_MAX)
    except OSError:
        each.close()
        raise
    return each


def _remove_stale(path: str, key: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError([Problem(key, f"{path} is there and is no socket", "remove it, or choose another path")])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1.0)
        try:
            asking.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def connections_max() -> int:
    """How many connections a server takes at once, of those that the process may have."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        CONNECTIONS_MAX if limit == resource.RLIM_INFINITY else max(1, min(CONNECTIONS_MAX, limit // DESCRIPTOR_SHARE))
    )


class _Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class HttpServer:
    """Runs on: the loop. Its sockets are opened at once, so that a place in use is known before anything else is
    built; `start` begins to answer. `answer_timeout_s` None: answers may go on, such as a stream."""

    def __init__(
        self, listen: str, key: str, log: logging.Logger, answer_timeout_s: float | None = ANSWER_TIMEOUT_S
    ) -> None:
        self._log = log
        self._request_log = RequestLog(log)
        self._connections_max = connections_max()
        self._answer_timeout_s = answer_timeout_s
        self._sockets = open_sockets(listen, key)
        name = self._sockets[0].getsockname()
        self._path = name if isinstance(name, str) else None
        self._inode = os.stat(name).st_ino if isinstance(name, str) else 0
        # Where it is to be found: a path, or HOST:PORT with the port that the kernel chose.
        self.address = name if isinstance(name, str) else f"{listen.rpartition(':')[0]}:{name[1]}"
        self._runner: web.AppRunner | None = None
        self._servers: list[asyncio.Server] = []
        self._silent: set[web.RequestHandler] = set()  # connections that have asked nothing yet

    async def start(self, routes: Iterable[web.AbstractRouteDef]) -> None:
        """Answer from here on."""
        loop = asyncio.get_running_loop()
        application = web.Application(
            logger=self._request_log,  # type: ignore[arg-type] -- it has the methods that are called
            middlewares=[self._bounds()],
            client_max_size=BODY_BYTES_MAX,
        )
        application.add_routes(routes)
        self._runner = web.AppRunner(
            application,
            handle_signals=False,
            access_log=None,
            logger=self._request_log,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGER_S,
            shutdown_timeout=STOP_TIMEOUT_S / 2,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )
        await self._runner.setup()
        # Not by TCPSite and UnixSite: theirs have no bound on connections, and open their sockets only now.
        open_server = loop.create_unix_server if self._path else loop.create_server
        for each in self._sockets:
            self._servers.append(await open_server(self._accept, sock=each))
        self._log.info("http listens", extra={"address": self.address})

    def _accept(self) -> asyncio.BaseProtocol:
        assert self._runner is not None and self._runner.server is not None
        server = self._runner.server
        if len(server.connections) >= self._connections_max:
            return _Refused()
        connection = server()
        self._silent.add(connection)
        # aiohttp bounds the pause between two requests, and not the one before the first.
        asyncio.get_running_loop().call_later(SILENCE_MAX_S, self._drop_silent, connection)
        return connection

    def _drop_silent(self, connection: web.RequestHandler) -> None:
        if connection in self._silent:
            self._silent.remove(connection)
            connection.force_close()

    def _bounds(self) -> Middleware:
        @web.middleware
        async def bound(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._silent.discard(request.protocol)
            try:
                async with asyncio.timeout(self._answer_timeout_s):
                    return await handler(request)
            except CLIENT_ERRORS as error:
                # A body that is cut, or not what its headers say. A client that has gone does not see the answer.
                self._request_log.refused(error)
                raise web.HTTPBadRequest(text=f"{reason_of(error)}\n") from None
            except TimeoutError:
                raise web.HTTPServiceUnavailable(text="no answer in time\n") from None

        return bound

    async def stop(self) -> None:
        """Close everything, within STOP_TIMEOUT_S and what the loop needs for it."""
        for server in self._servers:
            server.close()
        if self._runner is not None:
            await self._runner.cleanup()
        for each in self._sockets:
            each.close()
        # Not one that another daemon has put in its place meanwhile.
        if self._path and os.path.exists(self._path) and os.stat(self._path).st_ino == self._inode:
            os.unlink(self._path)
