"""Matches names of topics against an expression, as librdkafka does when it subscribes.

librdkafka hands `^…` to the C library, as a POSIX extended expression that may match anywhere. Python's `re` is another
language: it takes only names that begin so for `^events|logs`, it has `(?!…)` and lacks `[[:alpha:]]`. Where it would
say that an output does not match, that output would be subscribed to all the same.
"""

import ctypes
import math
import re
from typing import Final

EXTENDED, NO_SUBMATCHES = 1, 8  # REG_EXTENDED, REG_NOSUB of glibc's regex.h
REGEX_WORDS = 32  # regex_t has 8 of 64 bits
TEXT_BYTES: Final = 256
# A topic's name has 249 characters. The C library recurses for each bracket and copies what is repeated, so that a
# short text would take all of its stack or memory.
PATTERN_CHARS_MAX: Final = 1000
REPEATS_MAX: Final = 1000
_REPEAT: Final = re.compile(r"\{([0-9]*),?([0-9]*)\}")


class TopicPattern:
    """One expression. Raises ValueError with the C library's reason. Owner of its memory."""

    def __init__(self, text: str) -> None:
        if len(text) > PATTERN_CHARS_MAX:
            raise ValueError(f"it is longer than {PATTERN_CHARS_MAX} characters")
        if math.prod(max(1, *(int(end or 0) for end in repeat)) for repeat in _REPEAT.findall(text)) > REPEATS_MAX:
            raise ValueError(f"its {{...}} repeat more than {REPEATS_MAX} times")
        self._library = ctypes.CDLL(None)
        compiled = (ctypes.c_uint64 * REGEX_WORDS)()
        code = self._library.regcomp(compiled, text.encode(), EXTENDED | NO_SUBMATCHES)
        if code:
            reason = ctypes.create_string_buffer(TEXT_BYTES)
            self._library.regerror(code, compiled, reason, ctypes.c_size_t(TEXT_BYTES))
            raise ValueError(reason.value.decode(errors="replace"))
        self._compiled = compiled

    def __del__(self) -> None:
        if hasattr(self, "_compiled"):
            self._library.regfree(self._compiled)

    def matches(self, name: str) -> bool:
        return self._library.regexec(self._compiled, name.encode(), ctypes.c_size_t(0), None, 0) == 0
