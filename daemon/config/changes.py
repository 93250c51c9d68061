"""What a changed config asks of a running daemon: which keys take effect at a reload, and which wait for a restart."""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from .keys import Field, Section, fields, join
from .schema import Config

S = TypeVar("S", bound=Section)


class Changes(NamedTuple):
    """Key paths in the order of the config: those that are taken over, and those that wait for a restart."""

    live: tuple[str, ...]
    restart: tuple[str, ...]


def changes(old: Config, new: Config) -> Changes:
    """What differs between the config that runs and the one that was read."""
    changed = list(_changed(old, new, ""))
    return Changes(
        tuple(path for path, field in changed if _is_live(field)),
        tuple(path for path, field in changed if not _is_live(field)),
    )


def live_part(old: S, new: S) -> S:
    """The config that runs after a reload: `new` where that takes effect at once, `old` where it needs a restart."""
    kept = {}
    for field in fields(type(old)):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if field.section is not None:
            kept[field.name] = live_part(before, after)
        else:
            kept[field.name] = after if _is_live(field) else before
    return type(old)(**kept)


def _is_live(field: Field) -> bool:
    return field.key is not None and field.key.reload


def _changed(old: Section, new: Section, path: str) -> Iterator[tuple[str, Field]]:
    for field in fields(type(old)):
        here = join(path, field.name)
        before, after = getattr(old, field.name), getattr(new, field.name)
        if field.section is not None:
            yield from _changed(before, after, here)
        elif before != after:
            yield here, field
