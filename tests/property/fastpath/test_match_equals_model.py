"""The client library's match of a batch, and converted values: compiled code against its plain-Python twin."""

import random
from typing import Any

import hypothesis
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestd._fastpath import Batch, IndexCache, RouteTable, match_records, process_batch, rebuild_index
from ingestd.events.rules import CompiledRule
from ingestd.events.vocabulary import Fault, Verdict
from tests.conftest import SEED
from tests.support import model
from tests.support.batches import batches, random_batch, random_rule, rules, settings_of_tables
from tests.support.fastpath import CORRELATION_HEADERS, NOW_S, SETTINGS, event, record, table


def compare(rule_list: list[CompiledRule], records: list[model.Record]) -> None:
    batch = Batch(256)
    batch.load(records, CORRELATION_HEADERS)
    found = match_records(batch, table(rule_list), NOW_S)
    expected = model.match_records(records, model.Table(rules=rule_list, **SETTINGS), NOW_S, CORRELATION_HEADERS)
    assert [(Fault(fault), matched, correlation) for fault, matched, correlation in found] == expected
    assert (batch.send_count, batch.reply_count, batch.resp()) == (0, 0, b"")


@hypothesis.seed(SEED)
@settings(max_examples=80)
@given(rule_list=st.lists(rules(), max_size=2), records=batches())
def test_matching_does_what_its_twin_does(rule_list: list[CompiledRule], records: list[model.Record]):
    compare(rule_list, records)


def test_four_thousand_events_match_as_the_twin_says(seed: int):
    chance = random.Random(seed)
    for _ in range(40):
        compare([random_rule(chance) for _ in range(chance.randrange(3))], random_batch(chance, 100))


@hypothesis.seed(SEED)
@settings(max_examples=60)
@given(table_settings=settings_of_tables(), rule_list=st.lists(rules(), max_size=3), records=batches())
def test_a_converted_record_does_what_its_new_bytes_would_do(
    table_settings: dict[str, Any], rule_list: list[CompiledRule], records: list[model.Record]
):
    route_table = RouteTable(tuple(rule_list), **table_settings)
    plain, converted = Batch(64), Batch(64)
    plain.load(records, CORRELATION_HEADERS)
    converted.load([(b"an old message", *row[1:]) for row in records], CORRELATION_HEADERS)
    for index, row in enumerate(records):
        if row[0] is None:
            converted.convert(index, None, Fault.TOMBSTONE)
        else:
            converted.convert(index, row[0])
    for batch in (plain, converted):
        process_batch(batch, route_table, IndexCache(16), NOW_S)
    for _ in range(2):
        assert converted.sends() == plain.sends() and converted.verdicts() == plain.verdicts()
        assert converted.resp() == plain.resp() and converted.reply_ends() == plain.reply_ends()
        for batch in (plain, converted):
            rebuild_index(batch, route_table, IndexCache(16), NOW_S)


def test_a_released_batch_knows_nothing_of_what_it_was_converted_into():
    batch = Batch(2)
    batch.load([record(b"old", offset=1), record(b"old", offset=2)])
    batch.convert(0, b"x" * 1000)
    batch.convert(1, None, Fault.WRONG_SHAPE)
    held_bytes = batch.held_bytes
    batch.release()
    assert batch.held_bytes < held_bytes - 1000
    batch.load([record(event(id="e")), record(event(id="f"))])
    process_batch(batch, table(), IndexCache(16), NOW_S)
    assert batch.verdicts() == [(Verdict.ROUTED, Fault.NONE)] * 2
