"""Makes the Structs of the config of the nodes of a file, and finds every problem of form in one go.

The type of a key's field says how its text is read: `convert` walks types and nodes side by side.
"""

import difflib
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from ..errors import ConfigError, Problem
from . import scalars
from .keys import join
from .nodes import Mapping, Node, Place, Scalar, Sequence, shortened, shown
from .variables import Wrong, has_variables, replace_variables

_KIND_WORDS: Final = {
    bool: "true or false",
    dict: "a mapping",
    float: "a number",
    int: "a whole number",
    str: "a text",
    tuple: "a list",
    NoneType: "null",
}
# Nobody mends more of them at once, and to look for the nearest known key to each takes time.
PROBLEMS_MAX: Final = 100
# What variables make of all values together: an alias may stand for a long one many times.
REPLACED_CHARS_MAX: Final = 16 << 20
# Of an option's or a label's name in a path. librdkafka's longest option has 43.
KEY_CHARS_MAX: Final = 200
# Stands for a value that could not be read: its problem is reported already.
_UNKNOWN: Final = object()


class UnsetVariable(Problem):
    """The config has a variable that the environment has not."""


class _Value(msgspec.Struct, frozen=True):
    """A scalar with its variables replaced. `brought`: it had some, so it says nothing of its quotes."""

    text: str
    plain: bool
    brought: bool
    may_be_empty: bool
    node: Scalar


class Conversion:
    """One reading of one file. `places`: where each key path stands in it, as FILE:LINE:COLUMN."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.places: dict[str, str] = {}
        self._replaced_chars = 0

    def refuse(self, path: str, at: Place | None, what: str, mend: str = "", kind: type[Problem] = Problem) -> None:
        where = f"{self.source}:{at.line}:{at.column}" if at else self.source
        self.problems.append(kind(path, what, mend, where))
        if len(self.problems) >= PROBLEMS_MAX:
            self.problems.append(Problem("(file)", f"has more problems than {PROBLEMS_MAX}", "mend these first"))
            raise ConfigError(self.problems, self.source)

    def value(self, node: Scalar, path: str) -> _Value | None:
        """None, with a problem, where a variable of it can't be known."""
        if not has_variables(node.text):
            return _Value(node.text, node.plain, False, True, node)
        try:
            found = replace_variables(node.text)
            self._replaced_chars += len(found.text)
            if self._replaced_chars > REPLACED_CHARS_MAX:
                raise Wrong(f"variables make more than {REPLACED_CHARS_MAX} characters of this file")
        except Wrong as wrong:
            self.refuse(path, node.place, wrong.what, wrong.mend, UnsetVariable if wrong.is_unset else Problem)
            return None
        return _Value(found.text, node.plain, True, found.may_be_empty, node)

    def convert(self, kind: Any, node: Node, path: str) -> Any:
        """`node` as `kind`; _UNKNOWN where it is none. Goes on after a problem, so that all are found at once."""
        arms = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
        sections = [arm for arm in arms if isinstance(arm, type) and issubclass(arm, msgspec.Struct)]
        lists = [arm for arm in arms if get_origin(arm) is tuple]
        if isinstance(node, Scalar) and node.is_null and (sections or NoneType in arms):
            # A section without keys has its defaults.
            return None if NoneType in arms else self.section(sections[0], Mapping({}, node.place), path)
        if sections:
            return self.section(sections[0], node, path)
        if lists:
            return self._list(kind, get_args(lists[0])[0], node, path)
        if get_origin(kind) is dict and isinstance(node, Mapping):
            return self._mapping(get_args(kind)[1], node, path)
        if isinstance(node, Scalar) and get_origin(kind) is not dict:
            return self._scalar(arms, node, path)
        return self._unfit(kind, node, path)

    def section(self, kind: type[msgspec.Struct], node: Node, path: str) -> Any:
        if not isinstance(node, Mapping):
            self.refuse(
                path or "(top)", node.place, f"{shown(node)} is no mapping", "write its keys below it, indented"
            )
            return _UNKNOWN
        hints = get_type_hints(kind)  # the types alone, without what else stands on a field
        found: dict[str, Any] = {}
        before = len(self.problems)
        for key, entry in node.entries.items():
            here = join(path, shortened(key) or "''")
            if not path and key.startswith("x-"):
                continue  # a place for anchors
            if key not in hints:
                near = difflib.get_close_matches(key[:100], hints, 1)
                mend = f"did you mean {near[0]}?" if near else f"known here: {', '.join(hints)}"
                self.refuse(here, entry.key_place, "unknown key", mend)
                continue
            self.places[here] = self._where(entry.place)
            found[key] = self.convert(hints[key], entry.value, here)
        for field in msgspec.structs.fields(kind):
            if field.required and field.name not in found:
                self.refuse(join(path, field.name), node.place, "is missing")
        return kind(**found) if len(self.problems) == before else _UNKNOWN

    def _where(self, place: Place) -> str:
        return f"{self.source}:{place.line}:{place.column}"

    def _list(self, kind: Any, item_kind: Any, node: Node, path: str) -> Any:
        if isinstance(node, Scalar) and has_variables(node.text):
            # What a variable holds has no structure; its commas are all that it can say of a list.
            value = self.value(node, path)
            if value is None or (NoneType in get_args(kind) and value.text == ""):
                return _UNKNOWN if value is None else self._empty(value, path)
            words = [word.strip() for word in value.text.split(",")]
            node = Sequence(
                tuple(Scalar(word.replace("$", "$$"), False, node.place) for word in words if word), node.place
            )
        if not isinstance(node, Sequence):
            return self._unfit(kind, node, path)
        found = []
        for index, item in enumerate(node.items):
            here = f"{path}[{index}]"
            self.places[here] = self._where(item.place)
            found.append(self.convert(item_kind, item, here))
        return _UNKNOWN if _UNKNOWN in found else tuple(found)

    def _mapping(self, item_kind: Any, node: Mapping, path: str) -> dict[str, Any]:
        """Options of librdkafka, labels: the keys are the user's own."""
        found = {}
        for key, entry in node.entries.items():
            here = f"{path}.{shortened(key, KEY_CHARS_MAX)}"
            self.places[here] = self._where(entry.place)
            value = entry.value
            if get_origin(item_kind) is tuple:
                # A label that may have one of several values; one of them may stand alone.
                items = value.items if isinstance(value, Sequence) else (value,)
                found[key] = tuple(self._text(item, here) for item in items)
            else:
                found[key] = self._text(value, here)
        return found

    def _text(self, node: Node, path: str) -> str:
        """A librdkafka option or a label: any scalar, as it is spelt."""
        if not isinstance(node, Scalar):
            self.refuse(path, node.place, f"{shown(node)} is no single value", "write a text, a number, true or false")
        elif node.is_null:
            self.refuse(path, node.place, f"{node.text or 'nothing'} is no single value", _null_mend(node))
        elif (value := self.value(node, path)) is not None:
            return value.text
        return ""

    def _scalar(self, arms: tuple[Any, ...], node: Scalar, path: str) -> Any:
        value = self.value(node, path)
        if value is None:
            return _UNKNOWN
        words = [word for arm in arms if get_origin(arm) is Literal for word in get_args(arm)]
        if value.brought and value.text == "" and NoneType in arms:
            return self._empty(value, path)
        if words:
            return self._word(words, value, path)
        if str in arms:
            if node.is_null:
                self.refuse(path, node.place, f"{shown(node)} does not fit: it must be a text", _null_mend(node))
                return _UNKNOWN
            return value.text
        return self._number(arms, value, path)

    def _empty(self, value: _Value, path: str) -> Any:
        """Null is said by `${NAME:-}`. An environment that happens to be empty turns nothing off without a word."""
        if value.may_be_empty:
            return None
        form = shortened(value.node.text)
        self.refuse(path, value.node.place, f"{form} is empty", "with an empty default, ${NAME:-}, it is null")
        return _UNKNOWN

    def _word(self, words: list[str], value: _Value, path: str) -> Any:
        if value.text in words:
            return value.text
        near = difflib.get_close_matches(value.text[:100], words, 1)
        mend = (f"did you mean {near[0]}? " if near else "") + f"one of {', '.join(words)}"
        self.refuse(path, value.node.place, f"{_value_shown(value)} does not fit", mend)
        return _UNKNOWN

    def _number(self, arms: tuple[Any, ...], value: _Value, path: str) -> Any:
        """A number or a boolean."""
        read = scalars.read_bool if bool in arms else scalars.read_float if float in arms else scalars.read_int
        try:
            found = read(value.text)
            if value.plain or value.brought:
                return found
            mend = "leave out its quotes"
        except scalars.Unreadable as error:
            mend = str(error)
        self.refuse(path, value.node.place, f"{_value_shown(value)} does not fit: it must be {_wanted(arms)}", mend)
        return _UNKNOWN

    def _unfit(self, kind: Any, node: Node, path: str) -> Any:
        arms = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
        is_list = any(get_origin(arm) is tuple for arm in arms)
        mend = f"write it as a list: [{shown(node)}]" if is_list and isinstance(node, Scalar) and node.text else ""
        self.refuse(path, node.place, f"{shown(node)} does not fit: it must be {_wanted(arms)}", mend)
        return _UNKNOWN


def _value_shown(value: _Value) -> str:
    return f"'{shortened(value.text)}'" if value.brought or not value.plain else shown(value.node)


def _null_mend(node: Scalar) -> str:
    return f'"{node.text}" in quotes is a text'


def _wanted(arms: tuple[Any, ...]) -> str:
    """The kinds of value that a key takes, in words for people."""
    found = [_KIND_WORDS[get_origin(arm) or arm] for arm in arms if get_origin(arm) is not Literal]
    words = [", ".join(get_args(arm)) for arm in arms if get_origin(arm) is Literal]
    return " or ".join(words + found)
