"""The control socket's HTTP routes: reload and tap, for those who may open the socket.

    POST /reload   read the config again; {"live": [...], "restart": [...], "problems": [...]}
    POST /tap      {"match": {...}, "rate": 10, "dead": false, "mask": ["labels.user"]}; JSON lines until one side ends

and everything that `http.listen` answers. The socket's mode says who may: its owner and its group.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web

from .._fastpath import UNREADABLE
from ..config.checks import match_problems
from ..events.rules import MatchConfig
from ..events.unreadable import why_unreadable
from .http_server import ANSWER_TIMEOUT_S
from .taps import RATE_MAX, Tap, Taps, TooManyTaps

# So often a tap says how many events it has seen, also when it shows none: who reads sees that it lives.
COUNT_INTERVAL_S: Final = 1.0


class TapRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a tap asks for. rate: events a second at most."""

    match: MatchConfig = MatchConfig()
    rate: Annotated[int, msgspec.Meta(ge=1, le=RATE_MAX)] = 10
    dead: bool = False
    mask: list[str] = []


def routes(reload: Callable[[], Awaitable[Any]], taps: Taps) -> list[web.RouteDef]:
    """Of the control socket alone. `reload` gives a Reloaded."""

    async def post_reload(request: web.Request) -> web.Response:
        result = await reload()
        body = {
            "live": result.live,
            "restart": result.restart,
            "problems": [problem._asdict() for problem in result.problems],
        }
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")

    async def post_tap(request: web.Request) -> web.StreamResponse:
        # The answer may take as long as it likes, the question not.
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            body = await request.read()
        try:
            wanted = msgspec.json.decode(body, type=TapRequest)
        except UNREADABLE as error:
            raise web.HTTPBadRequest(text=f"{why_unreadable(body, error)[1]}\n") from error
        problems = match_problems(wanted.match, "match")
        if problems:
            raise web.HTTPBadRequest(text="".join(f"{problem}\n" for problem in problems))
        tap = Tap(wanted.match, wanted.rate, wanted.dead, wanted.mask)
        try:
            taps.open(tap)
        except TooManyTaps as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error
        try:
            return await _stream(request, tap)
        finally:
            taps.close(tap)

    return [web.post("/reload", post_reload), web.post("/tap", post_tap)]


async def _stream(request: web.Request, tap: Tap) -> web.StreamResponse:
    """Events as they come, and once a second {"seen": N, "lost": N}. Ends with the connection."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    loop = asyncio.get_running_loop()
    counted_s = loop.time()
    try:
        while True:
            left_s = counted_s + COUNT_INTERVAL_S - loop.time()
            try:
                async with asyncio.timeout(max(0.0, left_s)):
                    line: dict[str, Any] = await tap.queue.get()
            except TimeoutError:
                counted_s = loop.time()
                line = {"seen": tap.seen, "lost": tap.lost}
            await response.write(msgspec.json.encode(line) + b"\n")
    except ConnectionError:
        return response  # the client has disconnected
