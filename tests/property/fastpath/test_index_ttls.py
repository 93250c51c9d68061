"""No index entry is left behind: after each batch every index key has a TTL that is long enough for what came last."""

from typing import Any

import hypothesis
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestd._fastpath import Batch, IndexCache, RouteTable, process_batch
from ingestd.events.vocabulary import INDEX_TTL_MARGIN_S
from tests.conftest import SEED
from tests.support.batches import PAUSES_S
from tests.support.fastpath import NOW_S, SETTINGS, event, record
from tests.support.resp import Command, commands


class Expiries:
    """What Redis does with TTLs, and nothing else: key -> second at which it goes, or None for never."""

    def __init__(self) -> None:
        self.ends: dict[bytes, int | None] = {}

    def pass_time(self, now_s: int) -> None:
        self.ends = {key: end for key, end in self.ends.items() if end is None or end > now_s}

    def run(self, command: Command, now_s: int) -> None:
        name, key, *words = command
        if name == b"SET":
            self.ends[key] = now_s + int(words[2])
        elif name == b"ZADD":
            self.ends.setdefault(key, None)
        elif name == b"EXPIRE" and key in self.ends:
            end, wanted = self.ends[key], now_s + int(words[0])
            condition = words[1] if len(words) > 1 else None
            if (
                condition is None
                or (condition == b"NX" and end is None)
                or (condition == b"GT" and end is not None and wanted > end)
            ):
                self.ends[key] = wanted


KINDS = (
    {"level": "info"},
    {"level": "error"},
    {"type": "alert"},
    {"type": "metric"},
    {"type": "trace", "trace_id": "t", "span_id": "s"},
)
EVENTS = st.tuples(st.sampled_from(KINDS), st.sampled_from(("a", "b", "c", "abcdefg", "abcdefg\x07")))


def fields_of(kind: dict[str, Any], correlation: str) -> dict[str, Any]:
    return event(correlation_id=correlation) | kind


@hypothesis.seed(SEED)
@settings(max_examples=300)
@given(
    slot_count=st.sampled_from((1, 2, 1024)),
    steps=st.lists(
        st.tuples(PAUSES_S, st.lists(EVENTS, min_size=1, max_size=4), st.booleans()), min_size=1, max_size=12
    ),
)
def test_every_index_has_a_ttl_that_lasts_for_its_last_member(slot_count: int, steps: list):
    table, cache, batch, redis, now_s = RouteTable((), **SETTINGS), IndexCache(slot_count), Batch(8), Expiries(), NOW_S
    cache.compares_ttls = True
    for pause_s, events, reconnects in steps:
        now_s += pause_s
        redis.pass_time(now_s)
        if reconnects:
            cache.clear()
        for kind, correlation in events:
            batch.load([record(fields_of(kind, correlation))])
            process_batch(batch, table, cache, now_s)
            written = commands(batch.resp())
            for command in written:
                redis.run(command, now_s)
            longest_s = max(int(command[4]) for command in written if command[0] == b"SET") + INDEX_TTL_MARGIN_S
            for key in {command[1] for command in written if command[0] == b"ZADD"}:
                end = redis.ends[key]
                assert end is not None, f"{key!r} has no TTL"
                # It is refreshed before its margin is used up: it never goes before the member just written.
                assert end - now_s > longest_s - INDEX_TTL_MARGIN_S, f"{key!r} goes in {end - now_s} s"
        assert all(end is not None for end in redis.ends.values())
