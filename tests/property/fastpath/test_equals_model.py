"""Random batches through the fast path and through its plain-Python twin: the same sends, bytes and verdicts."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import hypothesis
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingestd._fastpath import (
    VOCABULARY,
    Batch,
    ErrorCounts,
    IndexCache,
    RouteTable,
    hash_key,
    process_batch,
    rebuild_index,
)
from ingestd.events.rules import CompiledRule
from ingestd.events.vocabulary import Fault, Verdict
from tests.conftest import SEED
from tests.support import model
from tests.support.batches import (
    PAUSE_VALUES_S,
    PAUSES_S,
    batches,
    random_batch,
    random_rule,
    random_settings,
    rules,
    settings_of_tables,
)
from tests.support.fastpath import CORRELATION_HEADERS, NOW_S, SETTINGS, event, record
from tests.support.resp import commands

NAME_BYTES_MAX = VOCABULARY["limits"]["ERROR_NAME_BYTES_MAX"]


def twin_cache(slot_count: int, compares_ttls: bool) -> model.TtlCache:
    return model.TtlCache(lambda key: hash_key(key) & (slot_count - 1), compares_ttls)


def assert_equal(batch: Batch, expected: model.Result) -> None:
    assert [(Verdict(v), Fault(f)) for v, f in batch.verdicts()] == expected.verdicts
    assert batch.sends() == expected.sends
    # The commands first: where they differ, their difference can be read.
    assert commands(batch.resp()) == expected.commands
    assert batch.resp() == expected.resp()
    assert batch.reply_ends() == expected.reply_ends


def error_counts(found: ErrorCounts | Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """By service and level. Names that are no UTF-8, an escaped lone surrogate, or too long for the table are one."""
    rows = found.rows() if isinstance(found, ErrorCounts) else [(*key, count) for key, count in found.items()]
    merged: Counter[tuple[str, str]] = Counter()
    for service, level, count in rows:
        text = service.encode("utf-8", "replace")
        plain = "?" not in service and "\ufffd" not in service and text == service.encode("utf-8", "ignore")
        merged[service if plain and len(text) <= NAME_BYTES_MAX and service != "other" else "", level] += count
    return merged


def assert_runs_add_up(batch: Batch, records: Sequence[model.Record], expected: model.Result) -> None:
    runs = {(run.source_topic_index, run.partition): run for run in batch.runs()}
    assert len(runs) == len(batch.runs())
    rows: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for row, (verdict, _) in zip(records, expected.verdicts, strict=True):
        rows.setdefault((row[3], row[4]), []).append((row[5], verdict))
    assert runs.keys() == rows.keys()
    for place, ends in rows.items():
        run = runs[place]
        verdicts = [verdict for _, verdict in ends]
        assert (run.first_offset, run.last_offset) == (ends[0][0], ends[-1][0])
        assert (run.received_count, run.dropped_count, run.dead_count) == (
            len(ends),
            verdicts.count(Verdict.DROPPED),
            verdicts.count(Verdict.DEAD),
        )


def compare(
    table: dict[str, Any],
    rule_list: Sequence[CompiledRule],
    slot_count: int,
    compares_ttls: bool,
    steps: Sequence[tuple[int, list[model.Record]]],
) -> None:
    """Batch after batch, each some seconds after the one before, through both."""
    route_table, twin_table = RouteTable(tuple(rule_list), **table), model.Table(rules=rule_list, **table)
    cache, expected_cache = IndexCache(slot_count), twin_cache(slot_count, compares_ttls)
    cache.compares_ttls = compares_ttls
    batch, now_s = Batch(256), NOW_S
    for pause_s, records in steps:
        now_s += pause_s
        batch.load(records, CORRELATION_HEADERS)
        errors = ErrorCounts()
        process_batch(batch, route_table, cache, now_s, errors)
        expected = model.process_batch(records, twin_table, expected_cache, now_s, CORRELATION_HEADERS)
        assert_equal(batch, expected)
        assert error_counts(errors) == error_counts(expected.errors)
        assert_runs_add_up(batch, records, expected)


# What hypothesis finds it makes small, which takes longer than the finding.
@pytest.mark.timeout(400)
@hypothesis.seed(SEED)
@settings(max_examples=150)
@given(
    table=settings_of_tables(),
    rule_list=st.lists(rules(), max_size=5),
    slot_count=st.sampled_from((1, 2, 1024)),
    compares_ttls=st.booleans(),
    steps=st.lists(st.tuples(PAUSES_S, batches()), min_size=1, max_size=4),
)
@example(
    table=SETTINGS,
    rule_list=[],
    slot_count=1024,
    compares_ttls=True,
    steps=[(0, [record(event(correlation_id="c"))]), (90_001, [record(event(correlation_id="c", level="error"))])],
).via("an index that ended between two batches")
def test_the_fast_path_does_what_its_twin_does(
    table: dict[str, Any],
    rule_list: list[CompiledRule],
    slot_count: int,
    compares_ttls: bool,
    steps: list[tuple[int, list[model.Record]]],
):
    compare(table, rule_list, slot_count, compares_ttls, steps)


def test_forty_thousand_events_end_as_the_twin_says(seed: int):
    chance = random.Random(seed)
    for _ in range(100):
        rule_list = [random_rule(chance) for _ in range(chance.randrange(6))]
        steps = [(chance.choice(PAUSE_VALUES_S), random_batch(chance, chance.randint(1, 200))) for _ in range(4)]
        compare(random_settings(chance), rule_list, chance.choice((1, 4, 1024)), chance.random() < 0.5, steps)


@hypothesis.seed(SEED)
@settings(max_examples=60)
@given(
    table=settings_of_tables(),
    rule_list=st.lists(rules(), max_size=3),
    records=batches(),
    given_up=st.sets(st.integers(0, 11)),
)
def test_bytes_built_again_are_those_of_a_first_time_without_what_was_given_up(
    table: dict[str, Any], rule_list: list[CompiledRule], records: list[model.Record], given_up: set[int]
):
    route_table, twin_table = RouteTable(tuple(rule_list), **table), model.Table(rules=rule_list, **table)
    cache, batch = IndexCache(16), Batch(64)
    batch.load(records, CORRELATION_HEADERS)
    process_batch(batch, route_table, cache, NOW_S)
    for index in given_up.intersection(range(len(records))):
        batch.mark_dead(index)
    sends, verdicts = batch.sends(), batch.verdicts()
    cache.clear()
    rebuild_index(batch, route_table, cache, NOW_S)
    # To the twin an event that was given up is a tombstone: it leaves nothing in Redis.
    left = [(None, *row[1:]) if index in given_up else row for index, row in enumerate(records)]
    expected = model.process_batch(left, twin_table, twin_cache(16, False), NOW_S, CORRELATION_HEADERS)
    assert batch.resp() == expected.resp() and batch.reply_ends() == expected.reply_ends
    assert batch.sends() == sends and batch.verdicts() == verdicts
