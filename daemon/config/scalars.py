"""Reads numbers and booleans of a config as they are spelt: decimal only, true or false only; all else is refused.

YAML 1.1 has many more spellings, most of which mean something else than who wrote them: 0256 is 174, 1:30 is 90, no is
false. Each is refused with its name.
"""

import re
from typing import Final

_WHOLE: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_DECIMAL: Final = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)")
# Beyond all ranges, and few enough for int().
DIGITS_MAX: Final = 19
_TRUE, _FALSE = frozenset({"yes", "on", "y", "1", "t"}), frozenset({"no", "off", "n", "0", "f"})
# Spellings of numbers elsewhere: expression -> what it is, and how to write it here.
_OTHER_NUMBERS: Final = (
    (r"[-+]?0x[0-9a-f_]*", "hexadecimal is not read; write the number in decimal"),
    (r"[-+]?0o[0-7_]*", "octal is not read; write the number in decimal"),
    (r"[-+]?0b[01_]*", "binary is not read; write the number in decimal"),
    (r"[-+]?[0-9]+(:[0-9]+)+(\.[0-9]*)?", "base 60 is not read; write one number, in the unit that the key names"),
    (r"[-+]?0[0-9]+(\.[0-9]*)?", "a leading zero means octal to some; leave it out"),
    (r"[-+]?[0-9.]+e[-+]?[0-9]+", "an exponent is not read; write the number in full"),
    (r"[-+]?[0-9.]*_[0-9._]*", "underscores are not read; leave them out"),
    (r"[-+]?[0-9]+(,[0-9]+)+(\.[0-9]*)?", "commas are not read; leave them out"),
    (r"[-+]?\.?(inf|infinity|nan)", "only a finite number is read"),
    (r"[-+]?[0-9.]+\s*[a-zµ%]+(/[a-z]+)?", "the key names the unit; write the number alone"),
)


class Unreadable(ValueError):
    """The text is no such value; the message is the mend, and may be empty."""


def read_bool(text: str) -> bool:
    lowered = text.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    if lowered in _TRUE | _FALSE:
        raise Unreadable(f"write {'true' if lowered in _TRUE else 'false'}")
    raise Unreadable("")


def read_int(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        if _DECIMAL.fullmatch(text):
            raise Unreadable("write it without a fraction")
        raise Unreadable(number_mend(text))
    if len(text) > DIGITS_MAX:
        raise Unreadable(f"it has more than {DIGITS_MAX} digits")
    return int(text)


def read_float(text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        raise Unreadable(number_mend(text))
    return float(text)


def number_mend(text: str) -> str:
    """What a text is that looks like a number of another notation; empty when it is like none."""
    lowered = text.lower()[:100]
    return next((mend for form, mend in _OTHER_NUMBERS if re.fullmatch(form, lowered)), "")
