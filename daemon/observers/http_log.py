"""The HTTP server's log: a bad request is a rate-limited line and no error, only an error of ours has its traceback."""

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ..rate_limited_log import RateLimitedLog

REPEAT_INTERVAL_S: Final = 60.0
REASON_CHARS_MAX: Final = 120
# What a client alone can bring about, by what it sends or by going away.
CLIENT_ERRORS: Final = (HttpProcessingError, web.RequestPayloadError, ConnectionError)


def reason_of(error: BaseException) -> str:
    """One short line; what the client has sent is in it only as text."""
    words = str(getattr(error, "message", "") or error or type(error).__name__).split("\n")[0].strip()
    return ascii(words)[1:-1][:REASON_CHARS_MAX]


class RequestLog:
    """What aiohttp calls of a logger. Runs on: the loop."""

    def __init__(self, log: logging.Logger, now: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._limited_log = RateLimitedLog(log, REPEAT_INTERVAL_S, now)

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 -- a logger's name
        return self._log.isEnabledFor(level)

    def debug(self, message: str, *values: Any, **options: Any) -> None:
        """aiohttp's are about clients that have gone: nobody can do anything about that."""

    def refused(self, error: BaseException) -> None:
        # By kind and not by text, in which each may differ.
        self._limited_log.say(
            logging.INFO, "a bad http request was refused", type(error).__name__, reason=reason_of(error)
        )

    def exception(self, message: str, *values: Any, exc_info: BaseException | None = None, **options: Any) -> None:
        if isinstance(exc_info, CLIENT_ERRORS):
            self.refused(exc_info)
        else:
            self._log.error("http request failed", extra={"context": message % values}, exc_info=exc_info)

    def warning(self, message: str, *values: Any, **options: Any) -> None:
        self._limited_log.say(logging.WARNING, "http server", message, reason=message % values)

    error = info = warning
