"""What no HTTP client should send: it is answered or cut off, leaves one quiet line in the log, and hurts nobody."""

import asyncio
import gzip
import logging
import random
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import uvloop
from aiohttp import web

from ingestd.observers import control_socket, http_server
from ingestd.observers.http_log import REPEAT_INTERVAL_S, RequestLog
from ingestd.observers.http_server import HttpServer
from ingestd.observers.taps import Taps
from tests.support.wait import MULTIPLIER

HEAD = b"GET /hello HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
BAD = {
    "a method that there is not": b"BREW /hello HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method of odd characters": b"G\x00T /hello HTTP/1.1\r\nHost: x\r\n\r\n",
    "a TLS client": bytes.fromhex("16030100a5010000a10303") + bytes(range(150)),
    "a Redis client": b"*1\r\n$4\r\nPING\r\n",
    "a Kafka client": b"\x00\x00\x00\x16\x00\x12\x00\x03\x00\x00\x00\x01\x00\x04test",
    "an SSH client": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/0.9": b"GET /hello\r\n\r\n",
    "HTTP/2 without an upgrade": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a version of the future": b"GET /hello HTTP/9.9\r\nHost: x\r\n\r\n",
    "no version": b"GET /hello HTTP\r\nHost: x\r\n\r\n",
    "no Host": b"GET /hello HTTP/1.1\r\n\r\n",
    "two Hosts": HEAD + b"Host: y\r\n\r\n",
    "a Host that is none": b"GET /hello HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "a Host of odd characters": b"GET /hello HTTP/1.1\r\nHost: \xff\xfe<>\r\n\r\n",
    "a header of great length": HEAD + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
    "too many headers": HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n",
    "a header without a colon": HEAD + b"nothing\r\n\r\n",
    "a header with a NUL": HEAD + b"X: a\x00b\r\n\r\n",
    "a header that goes on in the next line": HEAD + b"X: a\r\n b\r\n\r\n",
    "a space before the colon": HEAD + b"X : a\r\n\r\n",
    "line ends without returns": b"GET /hello HTTP/1.1\nHost: x\n\n",
    "a path of great length": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path with a NUL": b"GET /he\x00llo HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path with bytes of no encoding": b"GET /%ff%fe/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path that is a URL without a host": b"GET http:///hello HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path with a port that is none": b"GET http://x:99999999/hello HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path that is a star": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "a chunk size that is none": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a chunk size of great length": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\n",
    "a chunk longer than its size": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "a transfer encoding that there is not": POST + b"Transfer-Encoding: brew\r\n\r\n",
    "chunked and a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "a length that is none": POST + b"Content-Length: many\r\n\r\n",
    "a length below zero": POST + b"Content-Length: -1\r\n\r\n",
    "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length of 400 digits": POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n",
    "half a body": POST + b"Content-Length: 100\r\n\r\nabc",
    "half a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc",
    "half a request": b"GET /hello HTT",
    "half a header": HEAD + b"X-Half",
    "a gzip that is none": POST + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    "a gzip that is cut": POST
    + b"Content-Encoding: gzip\r\nContent-Length: 15\r\n\r\n"
    + gzip.compress(b"a" * 99)[:15],
    "an encoding that there is not": POST + b"Content-Encoding: brew\r\nContent-Length: 3\r\n\r\nabc",
    "a charset that there is not": POST + b"Content-Type: text/plain; charset=brew\r\nContent-Length: 3\r\n\r\nabc",
    "text that is not UTF-8": POST + b"Content-Length: 3\r\n\r\n\xff\xfe\xfd",
    "an upgrade": HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "an upgrade with garbage behind": HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n\x00\xff\x00garbage",
    "garbage behind a good request": HEAD + b"\r\n\x00\x01\x02\xff\r\n\r\n",
    "garbage behind ten good requests": (HEAD + b"\r\n") * 10 + b"garbage\r\n\r\n",
    "an expectation": POST + b"Expect: the-impossible\r\nContent-Length: 3\r\n\r\nabc",
    "cookies that are none": HEAD + b"Cookie: \x01=;;;=\xff; a=\x00\r\n\r\n",
    "line ends alone": b"\r\n" * 1000,
    "nothing but zeros": bytes(5000),
}


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Of the server and of every library."""
    handler = Lines()
    loggers = [logging.getLogger(), logging.getLogger("ingestd.test.bad")]
    for logger in loggers:
        logger.addHandler(handler)
    loggers[1].propagate = False
    loggers[1].setLevel(logging.DEBUG)
    yield handler
    for logger in loggers:
        logger.removeHandler(handler)


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "SILENCE_MAX_S", 0.2)


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


@asynccontextmanager
async def served() -> AsyncIterator[HttpServer]:
    log = logging.getLogger("ingestd.test.bad")
    server = HttpServer("127.0.0.1:0", "http.listen", log, answer_timeout_s=0.2)
    await server.start([web.get("/hello", hello), web.post("/echo", echo)])
    try:
        yield server
    finally:
        await server.stop()


async def send(server: HttpServer, data: bytes) -> bytes:
    """What comes back first; nothing when the connection is cut off, as it is where the server waits for more."""
    host, port = server.address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(1 << 16), 20 * MULTIPLIER)
    except TimeoutError:
        raise AssertionError(f"neither answered nor cut off: {data!r}") from None
    except ConnectionError:
        return b""  # it was cut off while it was still writing
    finally:
        writer.close()


def check(lines: Lines) -> None:
    for record in lines.records:
        assert record.levelno < logging.WARNING and not record.exc_info, record.getMessage()
        assert len(str(vars(record).get("reason", ""))) < 200


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_no_error_and_the_next_one_is_answered(name: str, lines: Lines):
    async def work() -> None:
        async with served() as server:
            for _ in range(3):
                answer = await send(server, BAD[name])
                assert answer == b"" or answer.startswith(b"HTTP/") and b"Traceback" not in answer
                assert not answer.startswith(b"HTTP/1.1 500"), answer
            assert (await send(server, HEAD + b"\r\n")).startswith(b"HTTP/1.1 200")

    uvloop.run(work())
    check(lines)
    refused = [record for record in lines.records if record.getMessage() == "a bad http request was refused"]
    assert len(refused) <= 1, "three of a kind are one line"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"mask": ["\xff"]}',
        b"[" * 60_000,
        b'{"rate": 0}',
        b'{"match": {"types": ["brew"]}}',
        b"\0",
    ],
)
def test_a_tap_that_cannot_be_read_is_refused_in_words(body: bytes, lines: Lines):
    async def nothing() -> None:
        raise AssertionError("nobody asked for a reload")

    async def work() -> None:
        server = HttpServer("127.0.0.1:0", "control.socket", logging.getLogger("ingestd.test.bad"), None)
        await server.start(control_socket.routes(nothing, Taps(lambda: None, lambda: 0.0)))
        try:
            post = b"POST /tap HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
            answer = await send(server, post + body)
            assert answer.startswith(b"HTTP/1.1 400") and answer.partition(b"\r\n\r\n")[2].strip()
        finally:
            await server.stop()

    uvloop.run(work())
    check(lines)


def test_connections_are_a_part_of_the_descriptors_that_there_are(monkeypatch: pytest.MonkeyPatch):
    for limit, count in ((64, 8), (1024, 64), (65536, 64), (resource.RLIM_INFINITY, 64), (3, 1)):
        monkeypatch.setattr(resource, "getrlimit", lambda _which, limit=limit: (limit, limit))
        assert http_server.connections_max() == count


def test_random_requests_are_no_errors(lines: Lines, seed: int):
    chance = random.Random(seed)

    def spoilt() -> bytes:
        data = bytearray(chance.choice([*BAD.values(), HEAD + b"\r\n", POST + b"Content-Length: 3\r\n\r\nabc"])[:4000])
        for _ in range(chance.randrange(8)):
            at = chance.randrange(len(data) + 1)
            data[at : at + chance.randrange(4)] = chance.randbytes(chance.randrange(4))
        return bytes(data)

    async def work() -> None:
        async with served() as server:
            for _ in range(20):
                for answer in await asyncio.gather(*(send(server, spoilt()) for _ in range(20))):
                    assert not answer.startswith(b"HTTP/1.1 500"), answer
            assert (await send(server, HEAD + b"\r\n")).startswith(b"HTTP/1.1 200")

    uvloop.run(work())
    check(lines)


def test_bad_requests_are_said_once_in_a_while_by_kind(lines: Lines):
    now_s = 0.0
    log = RequestLog(logging.getLogger("ingestd.test.bad"), lambda: now_s)
    for _ in range(100):
        log.exception("Error handling request from %s", "peer", exc_info=web.RequestPayloadError("cut\x1b[2J"))
        log.exception("Error handling request from %s", "peer", exc_info=ConnectionResetError())
    assert len(lines.records) == 2
    now_s = REPEAT_INTERVAL_S
    log.exception("Error handling request from %s", "peer", exc_info=web.RequestPayloadError("cut\x1b[2J"))
    last = vars(lines.records[-1])
    assert (last["kept_back"], last["reason"]) == (99, "cut\\x1b[2J")
