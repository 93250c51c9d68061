"""Errors by service: what is counted, and what the bounded table does when it is full."""

from collections import Counter

from ingestd._fastpath import VOCABULARY, Batch, ErrorCounts, IndexCache, process_batch, rebuild_index
from ingestd.telemetry.metrics import METRICS
from tests.support.fastpath import compiled, event, record, rule, table

SERVICES_MAX = VOCABULARY["limits"]["ERROR_SERVICES_MAX"]
NAME_BYTES_MAX = VOCABULARY["limits"]["ERROR_NAME_BYTES_MAX"]


def counted(*values: object, rules: tuple = (), counts: ErrorCounts | None = None) -> Counter[tuple[str, str]]:
    counts = counts or ErrorCounts()
    batch, cache, route_table = Batch(len(values)), IndexCache(1024), table(compiled(rules)[0])
    batch.load([record(value, offset=offset) for offset, value in enumerate(values)])
    process_batch(batch, route_table, cache, 0, counts)
    rebuild_index(batch, route_table, cache, 0)  # writes to Redis once more, and counts nothing
    rows = counts.rows()
    assert len({row[:2] for row in rows}) == len(rows) or ("other", "error") in {row[:2] for row in rows}
    return Counter({row[:2]: row[2] for row in rows})


def error(service: str | None, level: str = "error", **more: object) -> dict[str, object]:
    return event(service=service, level=level, **more)


def test_error_and_fatal_logs_are_counted_by_service():
    found = counted(error("a"), error("a"), error("a", "CRITICAL"), error("b"), error("b", type="error"))
    assert found == {("a", "error"): 2, ("a", "fatal"): 1, ("b", "error"): 2}


def test_other_levels_other_types_and_bad_events_are_not():
    others = [error("a", level) for level in ("debug", "info", "warning")]
    others += [error("a", type=name) for name in ("metric", "alert", "trace", "health")]
    assert counted(*others, error("a", timestamp="yesterday"), b"{") == {}


def test_what_a_rule_drops_is_counted_as_its_service_has_failed_all_the_same():
    assert counted(error("a"), rules=(rule("drop", levels=("error",)),)) == {("a", "error"): 1}


def test_an_event_without_service_counts_under_the_empty_name():
    assert counted(error(None), error(""), {"type": "log", "level": "error"}) == {("", "error"): 3}


def test_a_name_with_an_escape_is_the_name_that_it_means():
    plain = counted(error("b\u00fcro"))
    escaped = counted(b'{"type": "log", "level": "error", "service": "b\\u00fcro"}')
    assert plain == escaped == {("b\u00fcro", "error"): 1}


def test_a_service_more_than_the_table_holds_counts_as_other():
    names = [f"service-{number}" for number in range(SERVICES_MAX + 10)]
    counts = ErrorCounts()
    assert counted(*map(error, names), counts=counts)["other", "error"] == 10
    found = counted(error("one more", "fatal"), error("service-0"), counts=counts)
    assert found["other", "fatal"] == 1 and found["service-0", "error"] == 2
    assert sum(found.values()) == SERVICES_MAX + 12


def test_a_name_too_long_counts_as_other():
    fits, not_so = "s" * NAME_BYTES_MAX, "s" * (NAME_BYTES_MAX + 1)
    assert counted(error(fits), error(not_so)) == {(fits, "error"): 1, ("other", "error"): 1}


def test_the_help_text_names_the_limit():
    assert f"first {SERVICES_MAX} services" in METRICS["ingestd_error_events_total"].help


def test_sends_are_told_once_by_topic():
    topics = compiled((rule("copy", topics=["audit.events"], levels=["error"]),))[0]
    batch = Batch(4)
    batch.load([record(event()), record(b"{", offset=8), record(error("a"), offset=9)])
    process_batch(batch, table(topics), IndexCache(1024), 0)
    assert batch.take_sent_counts() == [(0, 2), (5, 1), (6, 1)]
    assert batch.take_sent_counts() == []
    batch.load([record(event(type="trace"))])
    process_batch(batch, table(), IndexCache(1024), 0)
    assert batch.take_sent_counts() == [(3, 1)]
