"""A rate-limited log: a line that repeats is said once in a while, with the number of those that were kept back."""

import logging
from collections.abc import Callable
from typing import Final


class RateLimitedLog:
    """Says a repeated line once in `interval_s`, then with the number of those it kept back."""

    KEYS_MAX: Final = 256  # a flood of different lines must not grow memory

    def __init__(self, log: logging.Logger, interval_s: float, now: Callable[[], float]) -> None:
        self._log = log
        self._interval_s = interval_s
        self._now = now
        self._said: dict[object, tuple[float, int]] = {}

    def say(self, level: int, message: str, key: object = None, **fields: object) -> None:
        key = (message, key)
        now_s = self._now()
        said_s, kept_back = self._said.get(key, (-self._interval_s, 0))
        if now_s - said_s < self._interval_s:
            self._said[key] = (said_s, kept_back + 1)
            return
        if len(self._said) >= self.KEYS_MAX:
            self._said.clear()
        self._said[key] = (now_s, 0)
        if kept_back:
            fields["kept_back"] = kept_back
        self._log.log(level, message, extra=fields)
