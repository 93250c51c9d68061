"""The HTTP server by itself: where it listens, what it refuses, and that it ends."""

import asyncio
import logging
import os
import socket
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from ingestd.errors import ConfigError
from ingestd.observers import http_server
from ingestd.observers.http_server import HttpServer
from tests.support.ports import free_ports
from tests.support.scrape import Endpoint
from tests.support.wait import MULTIPLIER

LOG = logging.getLogger("ingestd.test.http")
LOG.propagate = False
LOG.addHandler(logging.NullHandler())


def run(work) -> None:
    uvloop.run(asyncio.wait_for(work, 60 * MULTIPLIER))


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def echo(request: web.Request) -> web.Response:
    return web.Response(text=await request.text())


async def slow(request: web.Request) -> web.Response:
    await asyncio.sleep(3600)
    raise AssertionError("it was not cut")


ROUTES = (web.get("/hello", hello), web.post("/echo", echo), web.get("/slow", slow))


@asynccontextmanager
async def served(listen: str = "127.0.0.1:0", **options: object) -> AsyncIterator[HttpServer]:
    server = HttpServer(listen, "control.socket", LOG, **options)
    await server.start(ROUTES)
    yield server
    await server.stop()


async def dial(server: HttpServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = server.address.rsplit(":", 1)
    return await asyncio.open_connection(host, int(port))


def problem_of(listen: str) -> str:
    with pytest.raises(ConfigError) as caught:
        HttpServer(listen, "http.listen", LOG)
    (problem,) = caught.value.problems
    return str(problem)


def test_it_answers_on_a_port_and_on_a_socket(tmp_path: Path):
    async def work() -> None:
        path = str(tmp_path / "s")
        async with served() as server, served(path) as other:
            for address in (server.address, other.address):
                async with Endpoint(address) as endpoint:
                    assert await endpoint.get("/hello") == (200, "hello")
                    assert (await endpoint.get("/none"))[0] == 404
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        assert not Path(path).exists()

    run(work())


def test_localhost_is_every_loopback_address_that_there_is(monkeypatch: pytest.MonkeyPatch):
    def with_hosts_file(host: str, *rest: Any, **more: Any) -> list[Any]:
        addresses = ("127.0.0.1", "::1") if host == "localhost" else (host,)
        return [row for address in addresses for row in real(address, *rest, **more)]

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", with_hosts_file)  # a bare machine has no /etc/hosts
    (port,) = free_ports(1)
    # As /etc/hosts usually has it. A bare machine has no such file.
    stream = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    both = [(socket.AF_INET6, *stream, ("::1", port, 0, 0)), (socket.AF_INET, *stream, ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: both if host == "localhost" else None)

    async def work() -> None:
        async with served(f"localhost:{port}") as server:
            assert server.address == f"localhost:{port}"
            async with Endpoint(f"127.0.0.1:{port}") as endpoint:
                assert await endpoint.get("/hello") == (200, "hello")

    run(work())


def test_a_place_that_cannot_be_had_names_the_key_before_anything_listens(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert problem_of(listen).startswith(f"http.listen: {listen} is in use by another process")
    assert "is no address of this machine" in problem_of("192.0.2.1:9464")
    assert "cannot be opened" in problem_of("no-such-host.invalid:9464")
    assert "is in a folder that is not there" in problem_of(str(tmp_path / "none" / "s"))
    assert "AF_UNIX path too long" in problem_of("/" + "x" * 200)
    (tmp_path / "file").touch()
    assert "is there and is no socket" in problem_of(str(tmp_path / "file"))


def test_two_that_were_not_started_yet_see_each_other():
    first = HttpServer("127.0.0.1:0", "http.listen", LOG)
    assert "is in use" in problem_of(first.address)
    asyncio.run(first.stop())


def test_a_socket_that_was_left_behind_is_taken_over_and_one_in_use_is_not(tmp_path: Path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(path)

    async def work() -> None:
        async with served(path):
            assert "is in use by another process" in problem_of(path)
            async with Endpoint(path) as endpoint:
                assert await endpoint.get("/hello") == (200, "hello")

    run(work())


def test_a_stop_leaves_the_socket_of_another_daemon_alone(tmp_path: Path):
    path = tmp_path / "s"

    async def work() -> None:
        async with served(str(path)):
            path.unlink()
            # Made while the old inode is still held, so that it has another number.
            other = socket.socket(socket.AF_UNIX)
            other.bind(str(path))
        assert path.exists()
        other.close()

    run(work())


def test_large_headers_and_bodies_are_refused():
    async def work() -> None:
        async with served() as server, Endpoint(server.address) as endpoint:
            assert (await endpoint.get("/hello", **{"X-Large": "x" * (2 * http_server.HEADER_BYTES_MAX)}))[0] == 400
            # One of exactly the limit is refused by aiohttp 3.13, and not by 3.14.
            for size, status in ((http_server.BODY_BYTES_MAX - 1, 200), (http_server.BODY_BYTES_MAX + 1, 413)):
                async with endpoint.session.post("/echo", data=b"x" * size) as response:
                    assert response.status == status

    run(work())


def test_an_answer_that_takes_too_long_is_cut():
    async def work() -> None:
        async with served(answer_timeout_s=0.05) as server, Endpoint(server.address) as endpoint:
            assert await endpoint.get("/slow") == (503, "no answer in time\n")

    run(work())


def test_a_connection_that_asks_nothing_is_closed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_server, "SILENCE_MAX_S", 0.1)

    async def work() -> None:
        async with served() as server, Endpoint(server.address) as endpoint:
            assert await endpoint.get("/hello") == (200, "hello")
            silent, dripping = await dial(server), await dial(server)
            dripping[1].write(b"GET /hello HTTP/1.1\r\nHo")
            for reader, writer in (silent, dripping):
                assert await reader.read() == b""
                writer.close()
            assert await endpoint.get("/hello") == (200, "hello"), "who has asked may keep his connection"

    run(work())


def test_connections_beyond_the_limit_are_closed_and_those_within_go_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_server, "CONNECTIONS_MAX", 3)

    async def work() -> None:
        async with served() as server:
            held = [await dial(server) for _ in range(3)]
            for _, writer in held:
                writer.write(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            for reader, _ in held:
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            reader, writer = await dial(server)
            assert await reader.read() == b""
            writer.close()
            for _, writer in held:
                writer.close()

    run(work())


def test_a_stop_is_bounded_with_an_answer_under_way_and_a_silent_client():
    async def work() -> None:
        under_way = asyncio.Event()

        async def told(request: web.Request) -> web.Response:
            under_way.set()
            return await slow(request)

        server = HttpServer("127.0.0.1:0", "http.listen", LOG, answer_timeout_s=None)
        await server.start((web.get("/slow", told),))
        clients = [await dial(server), await dial(server)]
        clients[0][1].write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await clients[0][1].drain()
        await under_way.wait()
        started_s = time.monotonic()
        await server.stop()
        assert time.monotonic() - started_s < http_server.STOP_TIMEOUT_S + MULTIPLIER
        for reader, writer in clients:
            assert await reader.read() == b""
            writer.close()

    run(work())


def test_an_error_in_an_answer_is_500_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture):
    async def fails(request: web.Request) -> web.Response:
        raise KeyError("what is not there")

    async def work() -> None:
        server = HttpServer("127.0.0.1:0", "http.listen", LOG)
        await server.start([web.get("/fails", fails)])
        async with Endpoint(server.address) as endpoint:
            assert (await endpoint.get("/fails"))[0] == 500
        await server.stop()

    LOG.addHandler(caplog.handler)
    try:
        run(work())
    finally:
        LOG.removeHandler(caplog.handler)
    assert any(record.exc_info for record in caplog.records)
