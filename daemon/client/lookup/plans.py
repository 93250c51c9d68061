"""Looks events up in Redis without I/O: plans of what is asked for an id, and what is made of the replies.

A plan is a generator: it yields requests, is sent their replies, and returns what was found. `store` runs plans on a
Redis client, with and without `await`; so both stores are one piece of code. Only indexes and full keys are read:
no KEYS, no SCAN, and no character of an id is a wildcard.
"""

import re
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeAlias, TypedDict, TypeVar

from ...events.vocabulary import LEVEL_ALIASES, LEVEL_NAMES, TYPE_ALIASES, TYPE_NAMES
from ..events import Event, EventType, InvalidEvent, Level

T = TypeVar("T")
# Takes the client, gives the reply or its awaitable.
Request: TypeAlias = Callable[[Any], Any]
Plan: TypeAlias = Generator[Request, Any, T]

# Members an index is asked for at once: about 50 KB.
MEMBERS_READ: Final = 1000
# A short page of a long group still takes all members of a few milliseconds.
MEMBERS_READ_MIN: Final = 64
# Values an MGET: 100 KB of ordinary events, and 200 MiB where all of them are as large as events may be.
VALUES_READ: Final = 200
# What a poll of a group that goes on looks at: the newest of it.
FOLLOW_MEMBERS_MAX: Final = 10_000
_NS_PER_MS: Final = 1_000_000
_DIGITS: Final = re.compile(r"\d+", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Filters(TypedDict, total=False):
    """What is wanted of a group. All that are given must hold; within one, any value will do.

    types, levels: names, aliases too. labels: name to value, or to several. since: from then on; until: before then;
    both with a time zone.
    """

    types: Collection[str] | str | None
    levels: Collection[str] | str | None
    labels: Mapping[str, str | Collection[str]] | None
    since: datetime | None
    until: datetime | None


class Page(NamedTuple):
    """A part of a group, in time order. `cursor` begins the next one, None: there is no more.

    unreadable: keys whose values are no events that this library can read.
    """

    events: list[Event]
    cursor: str | None = None
    unreadable: tuple[str, ...] = ()


def _texts(values: Collection[str] | str | None) -> Collection[str]:
    return (values,) if isinstance(values, str) else values or ()


def _time_ns(time: datetime, name: str) -> int:
    if time.tzinfo is None:
        raise ValueError(f"{name} has no time zone: give one, as in datetime.now(UTC)")
    since = time - _EPOCH
    return ((since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


class Kind(NamedTuple):
    """What a key says of its event: it stands in front of the ids, in a closed set of words."""

    type: EventType | None = None
    level: Level | None = None
    # Where the event's id begins; None: it is not in the key.
    id_at: int | None = None


_KINDS: Final[dict[tuple[bytes, ...], Kind]] = {
    **{(b"events", name.encode()): Kind(EventType(name), None, len(f"events:{name}:")) for name in TYPE_NAMES},
    **{(b"logs", name.encode()): Kind(EventType.LOG, Level(name), len(f"logs:{name}:")) for name in LEVEL_NAMES},
}
# The second part of these is an id already.
_KINDS_BY_ROOM: Final = {
    b"traces": Kind(EventType.TRACE),
    b"alert_events": Kind(EventType.ALERT, None, len("alert_events:")),
}
_ANY_KIND: Final = Kind()


def kind_of(key: bytes) -> Kind:
    """Of a member of an index. Ids are never split: a part of `traces:` could hold a colon."""
    parts = key.split(b":", 2)
    return _KINDS_BY_ROOM.get(parts[0]) or _KINDS.get(tuple(parts[:2]), _ANY_KIND)


class Selection:
    """Filters, checked and made ready. Raises ValueError for a name that is none."""

    def __init__(
        self,
        types: Collection[str] | str | None = None,
        levels: Collection[str] | str | None = None,
        labels: Mapping[str, str | Collection[str]] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> None:
        self._types = {EventType(TYPE_ALIASES.get(name, name)) for name in _texts(types)}
        self._levels = {Level(LEVEL_ALIASES.get(name.lower(), name.lower())) for name in _texts(levels)}
        self._labels = [(name, frozenset(_texts(values))) for name, values in (labels or {}).items()]
        self._since_ns = _time_ns(since, "since") if since else None
        self._until_ns = _time_ns(until, "until") if until else None

    def bounds_ms(self) -> tuple[int | None, int | None]:
        """The scores between which to look, both of them in."""
        low = None if self._since_ns is None else self._since_ns // _NS_PER_MS
        return low, None if self._until_ns is None else (self._until_ns - 1) // _NS_PER_MS

    def may_take(self, kind: Kind) -> bool:
        """Whether the value of such a key has to be read."""
        return (not self._types or kind.type is None or kind.type in self._types) and (
            not self._levels or kind.level is None or kind.level in self._levels
        )

    def takes(self, event: Event, time_ns: int) -> bool:
        """Whether an event is wanted."""
        return (
            (not self._types or event.type in self._types)
            and (not self._levels or event.level in self._levels)
            and (self._since_ns is None or time_ns >= self._since_ns)
            and (self._until_ns is None or time_ns < self._until_ns)
            and all(_label(event, name) in values for name, values in self._labels)
        )


def _label(event: Event, name: str) -> str | None:
    value = (event.labels or {}).get(name)
    return value if isinstance(value, str) else None


class Found(NamedTuple):
    """An event where it stands in a group: the fields before it are the order."""

    score_ms: int
    time_ns: int
    id: str
    type: str
    event: Event

    def place(self) -> tuple[int, int, str, str]:
        return self[:4]


class Member(NamedTuple):
    key: bytes
    score_ms: int


def write_cursor(found: Found) -> str:
    return f"{found.score_ms}:{found.time_ns}:{found.type}:{found.id}"


def read_cursor(cursor: str) -> tuple[int, int, str, str]:
    """The place that it stands for. Raises ValueError for what no page has given."""
    parts = cursor.split(":", 3)
    if len(parts) != 4:
        raise ValueError(f"{cursor!r} is not the cursor of a page")
    return int(parts[0]), int(parts[1]), parts[3], parts[2]


class Group:
    """Everything under one id: its index, and which events belong to it."""

    def __init__(self, room: str, ident: str) -> None:
        # What is no Unicode was never written: its bytes match no key, which is the right answer.
        self.index = f"{room}:{ident}".encode("utf-8", "surrogatepass")
        self._field = "trace_id" if room == "trace_index" else "correlation_id"
        self._ident = ident

    def has(self, event: Event) -> bool:
        """A key may have been written again for another id. Where the field is empty, the id stood elsewhere: in a
        header, in the metadata or in the labels."""
        return getattr(event, self._field) in (None, self._ident)


def correlation(correlation_id: str) -> Group:
    return Group("correlation_index", correlation_id)


def trace(trace_id: str) -> Group:
    return Group("trace_index", trace_id)


class Reader:
    """One look-up: reads values, and keeps what it has met, so that an event under two keys comes once."""

    def __init__(self, group: Group, selection: Selection) -> None:
        self._group = group
        self._selection = selection
        self._met: set[tuple[str, str]] = set()
        self._nameless: set[bytes] = set()
        self.unreadable: list[str] = []

    def events(self, members: Iterable[Member]) -> Plan[list[Found]]:
        """The wanted events under these keys, in order."""
        wanted = [(member, kind) for member in members if self._selection.may_take(kind := kind_of(member.key))]
        found = []
        for begin in range(0, len(wanted), VALUES_READ):
            part = wanted[begin : begin + VALUES_READ]
            values = yield _values([member.key for member, _ in part])
            for (member, kind), value in zip(part, values, strict=True):
                # None: it has expired, and its place in the index has not.
                one = None if value is None else self._read(member, kind, value)
                if one is not None:
                    found.append(one)
        return sorted(found, key=Found.place)

    def _read(self, member: Member, kind: Kind, value: bytes | str) -> Found | None:
        try:
            event = Event.from_json(value)
        except InvalidEvent:
            self.unreadable.append(member.key.decode("utf-8", "replace"))
            return None
        if not self._group.has(event):
            return None
        if not event.id:
            # The daemon gave it an id, which only its keys have. `traces:` has none: the same bytes stand under
            # `events:trace:` too, which comes first among the members of one score.
            data = value.encode() if isinstance(value, str) else value
            if kind.id_at is not None:
                event.id = member.key[kind.id_at :].decode("utf-8", "replace")
                self._nameless.add(data)
            elif data in self._nameless:
                return None
        time_ns = event_time_ns(event, member.score_ms)
        if (event.type, event.id) in self._met or not self._selection.takes(event, time_ns):
            return None
        self._met.add((event.type, event.id))
        return Found(member.score_ms, time_ns, event.id, event.type, event)


def event_time_ns(event: Event, score_ms: int) -> int:
    """The score with what it lacks: the digits of the event's own time behind the milliseconds.

    The text is not read whole again: the daemon did, and for an event without a time the score is the record's.
    """
    text = event.timestamp
    if text[19:20] != ".":
        return score_ms * _NS_PER_MS
    digits = _DIGITS.match(text, 23, 29)
    return score_ms * _NS_PER_MS + int(f"{digits[0]:0<6}" if digits else 0)


def _values(keys: list[bytes]) -> Request:
    return lambda redis: redis.mget(keys)


def _range(index: bytes, low: int | str, high: int | str, count: int) -> Request:
    return lambda redis: redis.zrange(index, low, high, byscore=True, withscores=True, offset=0, num=count)


def _newest(index: bytes, count: int) -> Request:
    return lambda redis: redis.zrange(index, -count, -1, withscores=True)


def _members(reply: Iterable[tuple[bytes | str, float]]) -> list[Member]:
    """A client with `decode_responses` gives text."""
    return [Member(key.encode() if isinstance(key, str) else key, int(score)) for key, score in reply]


def members(index: bytes, low: int | str, high: int | str, count: int) -> Plan[tuple[list[Member], int | None]]:
    """About `count` members, all of each score that is in; and the score to go on from, None at the end.

    Going on by score and not by offset: what comes meanwhile moves no offsets.
    """
    while True:
        read = _members((yield _range(index, low, high, count)))
        if len(read) < count:
            return read, None
        last_ms = read[-1].score_ms
        whole = [member for member in read if member.score_ms < last_ms]
        if whole:
            return whole, last_ms
        count *= 2


class Pages:
    """A group, at most `limit` events at a time, from the one behind `cursor` on. What was read for a page and not
    given stays for the next."""

    def __init__(self, group: Group, selection: Selection, limit: int | None = None, cursor: str | None = None) -> None:
        if limit is not None and limit < 1:
            raise ValueError("limit is below 1")
        self._group = group
        self._limit = limit
        self._behind = read_cursor(cursor) if cursor else None
        low, high = selection.bounds_ms()
        if self._behind is not None:
            low = self._behind[0]
        self._start: str | None = "-inf" if low is None else str(low)
        self._high: int | str = "+inf" if high is None else high
        self._count = MEMBERS_READ if limit is None else max(MEMBERS_READ_MIN, min(MEMBERS_READ, 2 * limit))
        self._reader = Reader(group, selection)
        self._found: list[Found] = []

    def read(self) -> Plan[Page]:
        """The next page. Behind the last one there are only empty ones."""
        while self._start is not None and (self._limit is None or len(self._found) <= self._limit):
            read, next_ms = yield from members(self._group.index, self._start, self._high, self._count)
            self._start = None if next_ms is None else str(next_ms)
            for found in (yield from self._reader.events(read)):
                if self._behind is None or found.place() > self._behind:
                    self._found.append(found)
        # One more than the page was looked for: so it is known whether there is a next.
        more = self._limit is not None and len(self._found) > self._limit
        kept = self._found[: self._limit]
        self._found = self._found[len(kept) :]
        unreadable, self._reader.unreadable = tuple(self._reader.unreadable), []
        return Page([one.event for one in kept], write_cursor(kept[-1]) if more else None, unreadable)


class Follower:
    """A group that goes on: each poll gives what is new, however late its time. Looks at the newest members only."""

    def __init__(self, group: Group, selection: Selection) -> None:
        self._group = group
        self._selection = selection
        self._known: set[bytes] = set()
        self._met: set[tuple[str, str]] = set()

    def poll(self) -> Plan[list[Event]]:
        low, high = self._selection.bounds_ms()
        read = _members((yield _newest(self._group.index, FOLLOW_MEMBERS_MAX)))
        fresh = [
            member
            for member in read
            if member.key not in self._known
            and (low is None or member.score_ms >= low)
            and (high is None or member.score_ms <= high)
        ]
        self._known = {member.key for member in read}
        found = yield from Reader(self._group, self._selection).events(fresh)
        new = [one.event for one in found if (one.type, one.id) not in self._met]
        # `traces:` may show an event before its own key is in the index: that comes with the next poll.
        self._met = {(one.type, one.id) for one in found}
        return new


def one(event_id: str, kind: str | None = None) -> Plan[Event | None]:
    """One event, by all keys that its id alone gives: errors and alerts outlive their `events:` key."""
    types = [EventType(TYPE_ALIASES.get(kind, kind))] if kind else list(EventType)
    names = [f"events:{name}:" for name in types]
    if EventType.LOG in types:
        names += [f"logs:{level}:" for level in LEVEL_NAMES]
    if EventType.ALERT in types:
        names.append("alert_events:")
    keys = [f"{name}{event_id}".encode("utf-8", "surrogatepass") for name in names]
    for value in (yield _values(keys)):
        if value is not None:
            event = Event.from_json(value)
            event.id = event.id or event_id
            return event
    return None
