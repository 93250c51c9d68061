"""Makes the Structs of the config of a parsed tree, and finds every problem of form in one go.

The type of a key's field says how its value is read: `convert` walks types and values side by side.
"""

import difflib
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from ..errors import Problem
from .keys import join
from .variables import UNKNOWN, Substituted

_KIND_WORDS: Final = {
    bool: "true or false",
    dict: "a mapping",
    float: "a number",
    int: "a whole number",
    str: "a text",
    tuple: "a list",
    NoneType: "null",
}


def convert(kind: Any, value: Any, path: str, problems: list[Problem]) -> Any:
    """`value` as `kind`. Goes on after a problem, so that all are found in one reading."""
    if value is UNKNOWN:
        return None
    arms = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    sections = [arm for arm in arms if isinstance(arm, type) and issubclass(arm, msgspec.Struct)]
    if sections:
        if value is None and NoneType in arms:
            return None
        return _section(sections[0], {} if value is None else value, path, problems)
    if isinstance(value, list) and (lists := [arm for arm in arms if get_origin(arm) is tuple]):
        item_kind = get_args(lists[0])[0]
        return tuple(convert(item_kind, item, f"{path}[{index}]", problems) for index, item in enumerate(value))
    if kind == dict[str, str] and isinstance(value, dict):
        return {str(key): _text(item, f"{path}.{key}", problems) for key, item in value.items()}
    if kind == dict[str, tuple[str, ...]] and isinstance(value, dict):
        listed = {f"{key}": item if isinstance(item, list) else [item] for key, item in value.items()}
        return {key: tuple(_text(item, f"{path}.{key}", problems) for item in items) for key, items in listed.items()}
    return _leaf(kind, arms, value, path, problems)


def _wanted(arms: tuple[Any, ...]) -> str:
    """The kinds of value that a key takes, in words for people."""
    found = [_KIND_WORDS[get_origin(arm) or arm] for arm in arms if get_origin(arm) is not Literal]
    return " or ".join(found)


def _leaf(kind: Any, arms: tuple[Any, ...], value: Any, path: str, problems: list[Problem]) -> Any:
    words = [word for arm in arms if get_origin(arm) is Literal for word in get_args(arm)]
    if isinstance(value, Substituted):
        if str not in arms and not words:
            value = yaml_scalar(value)
        else:
            # `${RACK:-}` for a key that may be null: nothing was given.
            value = None if value == "" and NoneType in arms else str(value)
    try:
        return msgspec.convert(value, kind, strict=True)
    except (msgspec.MsgspecError, ValueError):
        wanted = "" if words else f": it must be {_wanted(arms)}"
        mend = ""
        if words:
            near = difflib.get_close_matches(str(value), words, 1)
            mend = (f"did you mean {near[0]}? " if near else "") + f"one of {', '.join(words)}"
        elif isinstance(value, str) and any(get_origin(arm) is tuple for arm in arms):
            mend = f"write it as a list: [{value}]"
        problems.append(Problem(path, f"{value!r} does not fit{wanted}", mend))
        return None


def _text(value: Any, path: str, problems: list[Problem]) -> str:
    """A librdkafka option or a label: any scalar, as librdkafka and JSON write it."""
    if value is UNKNOWN:
        return ""
    if value is None or not isinstance(value, (str, int, float)):
        problems.append(Problem(path, f"{value!r} is no single value", "write a text, a number, true or false"))
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _section(kind: type[msgspec.Struct], value: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, dict):
        problems.append(Problem(path or "(top)", f"{value!r} is no mapping", "write its keys below it, indented"))
        return None
    hints = get_type_hints(kind)  # the types alone, without what else stands on a field
    found: dict[str, Any] = {}
    before = len(problems)
    for key, item in value.items():
        here = join(path, str(key))
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, 1)
            mend = f"did you mean {near[0]}?" if near else f"known here: {', '.join(hints)}"
            problems.append(Problem(here, "unknown key", mend))
            continue
        found[key] = convert(hints[key], item, here, problems)
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in found:
            problems.append(Problem(join(path, field.name), "is missing"))
    return kind(**found) if len(problems) == before else None


def yaml_scalar(text: str) -> Any:
    """What YAML would make of a text without quotes; never a list or a mapping."""
    # Only who reads a file needs PyYAML, and only such a text has had variables in it.
    from .yaml_file import as_scalar

    return as_scalar(text)
