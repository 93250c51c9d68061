"""Environment variables in a value of a config, as in a shell: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar.

They are replaced in scalars that were parsed already, so what a variable holds can never change the structure. What a
shell has beyond this is refused by name, and never passed on as if it were text.
"""

import os
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from .nodes import shortened

NESTING_MAX: Final = 8
# What the environment may bring into one value.
CHARS_MAX: Final = 1 << 20
NAME_CHARS_MAX: Final = 256
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR: Final = re.compile(r":?[-?+=]")
_KNOWN: Final = "known are ${NAME}, ${NAME:-default}, ${NAME-default}, ${NAME:?message}, ${NAME:+other} and $$"
# Without a mend by hand: set it, or give it a default.
_UNSET_MEND: Final = "set it, or write ${{{name}:-default}}"


class Wrong(Exception):
    """A value can't be known. `is_unset`: for the only reason that the environment lacks a variable."""

    def __init__(self, what: str, mend: str = "", is_unset: bool = False) -> None:
        self.what, self.mend, self.is_unset = what, mend, is_unset


class Replaced(NamedTuple):
    """A value with its variables. `may_be_empty`: the file itself says so, by an empty default."""

    text: str
    may_be_empty: bool


def has_variables(text: str) -> bool:
    return "$" in text


class _Reader:
    """One text, from left to right."""

    def __init__(self, text: str, environment: Callable[[str], str | None]) -> None:
        self._text, self._at = text, 0
        self._environment = environment
        self.may_be_empty = False
        self.replaced = False
        self._brought_chars = 0

    def words(self, depth: int, wanted: bool = True) -> str:
        """Up to the end, or below a `${` up to its `}`. Not `wanted`: a default that is not used lacks nothing."""
        if depth > NESTING_MAX:
            raise Wrong(f"has variables nested deeper than {NESTING_MAX}")
        found: list[str] = []
        text = self._text
        while self._at < len(text):
            char, following = text[self._at], text[self._at + 1 : self._at + 2]
            if char == "}" and depth:
                break
            if char != "$":
                end = re.compile(r"[$}]" if depth else r"\$").search(text, self._at)
                stop = end.start() if end else len(text)
                found.append(text[self._at : stop])
                self._at = stop
            elif following == "$":
                found.append("$")
                self._at += 2
            elif following == "{":
                self._at += 2
                found.append(self._variable(depth, wanted))
            else:
                self._refuse_other_forms()
                found.append("$")
                self._at += 1
        return "".join(found)

    def _refuse_other_forms(self) -> None:
        """A dollar alone is one, as at the end of an expression."""
        rest = self._text[self._at + 1 : self._at + 1 + NAME_CHARS_MAX]
        if name := _NAME.match(rest):
            word = shortened(name[0])
            raise Wrong(f"${word} is not read as a variable", f"write ${{{word}}}, or $${word} for a dollar")
        if rest.startswith("("):
            name = re.compile(r"\(([A-Za-z_][A-Za-z0-9_]*)\)").match(rest)
            mend = f"write ${{{shortened(name[1])}}}" if name else "commands are not run"
            raise Wrong("$(...) is not read as a variable", f"{mend}; $$( is a dollar and a bracket")

    def _variable(self, depth: int, wanted: bool) -> str:
        name = _NAME.match(self._text, self._at)
        form = shortened(self._text[self._at - 2 : self._at + NAME_CHARS_MAX].partition("}")[0]) + "}"
        if name is None:
            raise Wrong(f"{form} is not read as a variable", _KNOWN)
        self._at = name.end()
        operator = _OPERATOR.match(self._text, self._at)
        if operator is None and self._text[self._at : self._at + 1] != "}":
            raise Wrong(*_other_form(form, name[0], self._text[self._at :]))
        sign = operator[0] if operator else ""
        self._at += len(sign)
        if sign.endswith("="):
            raise Wrong(f"{form} sets a variable, which is not done here", f"write ${{{name[0]}:-default}}")
        value = self._environment(name[0])
        is_given = value is not None and (value != "" or not sign.startswith(":"))
        # What stands behind the sign is read in any case, so that its form is checked; it is needed or not.
        needs_rest = wanted and (is_given if sign.endswith("+") else not is_given)
        rest = self.words(depth + 1, needs_rest)
        if self._text[self._at : self._at + 1] != "}":
            raise Wrong(f"{shortened(form[:-1])} has no }} at its end")
        self._at += 1
        self.replaced = True
        return self._chosen(name[0], sign, value if is_given else None, rest, wanted)

    def _chosen(self, name: str, sign: str, value: str | None, rest: str, wanted: bool) -> str:
        if sign.endswith("+"):
            self.may_be_empty = True
            return "" if value is None else rest
        if sign.endswith("-"):
            self.may_be_empty = self.may_be_empty or rest == ""
        if value is not None:
            if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
                raise Wrong(f"the environment's {name} is no UTF-8 text")
            self._brought_chars += len(value)
            if self._brought_chars > CHARS_MAX:
                raise Wrong(f"variables bring more than {CHARS_MAX} characters")
            return value
        if sign.endswith("-") or not wanted:
            return rest
        if sign.endswith("?"):
            raise Wrong(f"the environment has no {name}: {shortened(rest) or 'it must be set'}", "", True)
        raise Wrong(f"the environment has no {name}", _UNSET_MEND.format(name=name), True)


def _other_form(form: str, name: str, rest: str) -> tuple[str, str]:
    if "}" not in rest:
        return f"{form[:-1]} has no }} at its end", _KNOWN
    if name == "env" and rest.startswith((":", ".")) and (inner := _NAME.match(rest, 1)):
        return f"{form} is not read as a variable", f"write ${{{inner[0]}}}"
    return f"{form} is not read as a variable", _KNOWN


def replace_variables(text: str, environment: Callable[[str], str | None] = os.environ.get) -> Replaced:
    """The text with its variables. Raises Wrong."""
    reader = _Reader(text, environment)
    return Replaced(reader.words(0), reader.may_be_empty or not reader.replaced)
