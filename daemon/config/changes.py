"""What a changed config asks of a running daemon. Two configs in; what changed, by what it needs, out. Pure."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from .schema import Config, Section

# What takes effect between two batches: key paths, or with a dot at their end all that is below. Every other key is
# built into a handle of librdkafka, a socket or a name, and needs a restart.
LIVE: Final = (
    "rules",
    "storage.",
    "kafka.partition_by",
    "redis.username",  # these two at the next connect
    "redis.password_file",
    "redis.reply_timeout_ms",
    "redis.on_unavailable",
    "redis.on_full",
    "observability.",
    "pipeline.batch_events_max",
    "pipeline.in_flight_events_max",
    "pipeline.drain_timeout_ms",
    "pipeline.dead_letter.",
    "health.",
    "logging.level",
)


class Changes(NamedTuple):
    """Key paths in the order of the config: those that are taken over, and those that wait for a restart."""

    live: tuple[str, ...]
    restart: tuple[str, ...]


def changes(old: Config, new: Config) -> Changes:
    """What differs between the config that runs and the one that was read."""
    changed = list(_changed(old, new, ""))
    return Changes(
        tuple(path for path in changed if _is_live(path)), tuple(path for path in changed if not _is_live(path))
    )


def live_part(old: Config, new: Config) -> Config:
    """The config that runs after a reload: `new` where that takes effect at once, `old` where it needs a restart."""
    return _merged(old, new, "")


def _merged(old: Any, new: Any, path: str) -> Any:
    fields = {}
    for name in old.__struct_fields__:
        here = f"{path}.{name}" if path else name
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, Section) and isinstance(after, Section):
            fields[name] = _merged(before, after, here)
        else:
            fields[name] = after if _is_live(here) else before
    return type(old)(**fields)


def _is_live(path: str) -> bool:
    return any(path == key or (key.endswith(".") and path.startswith(key)) for key in LIVE)


def _changed(old: Any, new: Any, path: str) -> Iterator[str]:
    for name in old.__struct_fields__:
        here = f"{path}.{name}" if path else name
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, Section) and isinstance(after, Section):
            yield from _changed(before, after, here)
        elif before != after:
            yield here
