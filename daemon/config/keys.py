"""What stands on the field of each config key: its meaning, its range and unit, and whether a reload may change it.

A key is written in one place, on its field in `schema`:

    interval_s: Annotated[int, Key("Seconds between health events.", RELOAD), Range(1, 3600, "seconds", "why")] = 10

`checks` reads ranges from there, `changes` what a reload may change; a test holds config.yaml equal.
"""

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

# Whether a new value takes effect between two batches, or is built into a handle of librdkafka, a socket or a name.
RELOAD: Final = True
RESTART: Final = False


class Key(NamedTuple):
    """`meaning`: one sentence, which is the key's comment in config.yaml. `reload`: RELOAD or RESTART."""

    meaning: str
    reload: bool


class Range(NamedTuple):
    """The values that a number may have, both ends among them, but for `least` where the value must lie `above` it."""

    least: float
    most: float
    unit: str
    why: str
    above: bool = False

    def has(self, value: float) -> bool:
        """False for NaN too."""
        return self.least <= value <= self.most and not (self.above and value == self.least)

    def __str__(self) -> str:
        return f"above {self.least} and up to {self.most}" if self.above else f"from {self.least} to {self.most}"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every part of the config."""


class Field(NamedTuple):
    """One field of a section. `section`: where the field is a section itself; then it has no key."""

    name: str
    kind: Any
    default: Any
    section: type[Section] | None
    key: Key | None
    range: Range | None


@cache
def fields(section: type[Section]) -> tuple[Field, ...]:
    """The fields in their order. `kind` is the type alone; `default` is msgspec.NODEFAULT where one must be given."""
    hints = get_type_hints(section, include_extras=True)
    return tuple(_field(field, hints[field.name]) for field in msgspec.structs.fields(section))


def _field(field: msgspec.structs.FieldInfo, hint: Any) -> Field:
    kind, *said = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    made = field.default_factory is not msgspec.NODEFAULT
    return Field(
        field.name,
        kind,
        field.default_factory() if made else field.default,
        kind if isinstance(kind, type) and issubclass(kind, Section) else None,
        next((word for word in said if isinstance(word, Key)), None),
        next((word for word in said if isinstance(word, Range)), None),
    )


def join(path: str, name: str) -> str:
    """The path of a key below `path`."""
    return f"{path}.{name}" if path else name


def keys(section: type[Section], path: str = "") -> Iterator[tuple[str, Field]]:
    """Every key with its path. A section is none, but its keys are; a list of sections is one key."""
    for field in fields(section):
        here = join(path, field.name)
        if field.section is not None:
            yield from keys(field.section, here)
        else:
            yield here, field


def values(section: Section, path: str = "") -> Iterator[tuple[str, Field, Any]]:
    """The same for a config: every key with its path and its value there."""
    for field in fields(type(section)):
        here, value = join(path, field.name), getattr(section, field.name)
        if field.section is not None:
            yield from values(value, here)
        else:
            yield here, field, value
