"""`ingestd test`. In: a config and events as JSON lines. Out: what the daemon would make of each, by the same core."""

import json
from pathlib import Path
from typing import Any

import pytest

from ingestd.events.vocabulary import Fault
from tests.support import shapes
from tests.support.command import Done, config_file, ingestd

HOUR_S, DAY_S = 3600, 86400
RULES = """
kafka: {index_only_topics: [observability.traces]}
rules:
  - {name: quiet, match: {types: [log], levels: [debug]}, action: drop}
  - {name: gateway, match: {services: [gw]}, action: copy, topics: [copies]}
  - {name: thin, match: {types: [trace]}, action: sample, rate: 0}
  - {name: lean, match: {types: [metric]}, action: no_store}
  - {name: pager, match: {types: [alert]}, action: route, topics: [pages]}
  - {name: never met by alerts, match: {types: [alert, metric]}, action: no_store}
"""


def line(**event: Any) -> bytes:
    return json.dumps({"type": "log", "level": "info"} | event).encode() + b"\n"


def tried(folder: Path, config: str, *events: bytes, words: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    done = ingestd("test", "--json", "-c", config_file(folder, config), *words, stdin=b"".join(events))
    assert done.code == 0, done.err
    return done.rows()


def one(folder: Path, event: bytes, config: str = "", words: tuple[str, ...] = ()) -> dict[str, Any]:
    (row,) = tried(folder, config, event, words=words)
    return row


def ttls(rows: list[dict[str, Any]]) -> dict[str, int]:
    return {row["key"]: row["ttl_s"] for row in rows}


def test_a_good_log_goes_to_its_topic_and_is_indexed_as_long_as_it_lives_and_an_hour(tmp_path: Path) -> None:
    stamp = "2026-03-01T00:00:00Z"
    row = one(tmp_path, line(id="e1", correlation_id="c", trace_id="t", timestamp=stamp))
    assert (row["line"], row["verdict"], row["fault"], row["reason"], row["rules"]) == (1, "routed", None, None, [])
    assert row["topics"] == [{"topic": "observability.logs", "key": "t"}]
    assert ttls(row["keys"]) == {"events:log:e1": DAY_S, "logs:info:e1": DAY_S}
    entry = {"member": "events:log:e1", "score_ms": 1772323200000, "ttl_s": DAY_S + HOUR_S}
    assert row["indexes"] == [{"key": "correlation_index:c"} | entry, {"key": "trace_index:t"} | entry]


def test_a_class_of_longer_life_gives_its_index_that_life(tmp_path: Path) -> None:
    row = one(tmp_path, line(id="e", level="critical", correlation_id="c"))
    assert ttls(row["keys"]) == {"events:log:e": DAY_S, "logs:fatal:e": 7 * DAY_S}
    (index,) = row["indexes"]
    assert (index["member"], index["ttl_s"]) == ("logs:fatal:e", 7 * DAY_S + HOUR_S)


def test_a_trace_is_under_both_of_its_keys_in_its_index(tmp_path: Path) -> None:
    row = one(tmp_path, line(id="e", type="trace", trace_id="t", span_id="s"))
    assert {entry["member"] for entry in row["indexes"]} == {"traces:t:s", "events:trace:e"}
    assert ttls(row["keys"])["traces:t:s"] == 7 * DAY_S


def test_times_to_live_and_the_key_are_the_config_s(tmp_path: Path) -> None:
    config = "kafka: {partition_by: correlation}\nstorage: {events_ttl_s: 60, logs_ttl_s: 7, indexes: [trace]}"
    row = one(tmp_path, line(id="e", correlation_id="c", trace_id="t"), config)
    assert row["topics"] == [{"topic": "observability.logs", "key": "c"}]
    assert ttls(row["keys"]) == {"events:log:e": 60, "logs:info:e": 7}
    assert [entry["key"] for entry in row["indexes"]] == ["trace_index:t"]


def test_an_event_without_ids_has_no_key_and_gets_its_place_for_an_id(tmp_path: Path) -> None:
    first, second = tried(tmp_path, "", line(), line())
    assert first["topics"] == [{"topic": "observability.logs", "key": None}] and first["indexes"] == []
    assert "events:log:observability.events-0-0" in ttls(first["keys"])
    assert "events:log:observability.events-0-1" in ttls(second["keys"])


def test_events_of_one_correlation_do_not_hide_each_other_s_index(tmp_path: Path) -> None:
    """The daemon refreshes a TTL once an hour; here each event is shown with all that belongs to it."""
    first, second = tried(tmp_path, "", line(id="a", correlation_id="c"), line(id="b", correlation_id="c"))
    assert [row["ttl_s"] for row in first["indexes"] + second["indexes"]] == [DAY_S + HOUR_S] * 2


@pytest.mark.parametrize(
    ("event", "verdict", "rules", "topics"),
    [
        (line(level="debug", service="gw"), "dropped", ["quiet"], []),
        (line(service="gw"), "routed", ["gateway"], ["observability.logs", "copies"]),
        (line(service="other"), "routed", [], ["observability.logs"]),
        (line(type="trace", trace_id="t", service="gw"), "dropped", ["gateway", "thin"], ["copies"]),
        (line(type="alert"), "routed", ["pager"], ["pages"]),
    ],
)
def test_the_rules_that_an_event_meets_are_named_up_to_the_one_that_ends_the_walk(
    tmp_path: Path, event: bytes, verdict: str, rules: list[str], topics: list[str]
) -> None:
    row = one(tmp_path, event, RULES)
    assert (row["verdict"], row["rules"]) == (verdict, rules)
    assert [send["topic"] for send in row["topics"]] == topics


def test_an_event_that_is_not_stored_has_topics_and_no_keys(tmp_path: Path) -> None:
    row = one(tmp_path, line(type="metric", id="m", correlation_id="c"), RULES)
    assert row["rules"] == ["lean", "never met by alerts"]
    assert (row["keys"], row["indexes"]) == ([], [])
    assert [send["topic"] for send in row["topics"]] == ["observability.metrics"]


def test_a_topic_that_is_only_indexed_gives_keys_and_no_sends(tmp_path: Path) -> None:
    event = line(id="e", service="other")
    row = one(tmp_path, event, RULES, words=("--topic", "observability.traces"))
    assert row["topics"] == [] and "events:log:e" in ttls(row["keys"])


def test_every_bad_shape_is_a_dead_letter_with_its_class_and_reason(tmp_path: Path) -> None:
    bad = [
        shape for shape in shapes.bad() if shape.payload and b"\n" not in shape.payload and len(shape.payload) < 9999
    ]
    assert len(bad) > 20
    rows = tried(tmp_path, RULES, *(shape.payload + b"\n" for shape in bad))
    for shape, row in zip(bad, rows, strict=True):
        assert (row["verdict"], row["fault"]) == ("dead", Fault(shape.fault).name.lower()), shape
        assert row["reason"] and row["rules"] == row["keys"] == row["indexes"] == []
        assert [send["topic"] for send in row["topics"]] == ["observability.dead_letter"]


def test_events_come_from_a_file_or_from_standard_input_and_lines_are_counted_as_there(tmp_path: Path) -> None:
    config, events = config_file(tmp_path, ""), b"\n" + line(id="a") + b"  \r\n" + line(id="b").replace(b"\n", b"\r\n")
    (tmp_path / "events").write_bytes(events + b'{"type": "log", "level": "info"}')
    from_file = ingestd("test", "--json", "-c", config, str(tmp_path / "events"))
    assert [row["line"] for row in from_file.rows()] == [2, 4, 5]
    assert [row["verdict"] for row in from_file.rows()] == ["routed"] * 3
    for words in ((), ("-",)):
        from_stdin = ingestd("test", "--json", "-c", config, *words, stdin=events)
        assert [row["line"] for row in from_stdin.rows()] == [2, 4]


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    done = ingestd("test", "-c", config_file(tmp_path, ""), str(tmp_path / "nothing"))
    assert done.code == 2 and "nothing" in done.err


def for_people(folder: Path, *events: bytes) -> Done:
    return ingestd("test", "-c", config_file(folder, RULES), stdin=b"".join(events))


def test_for_people_an_event_is_a_few_lines_and_the_last_line_counts(tmp_path: Path) -> None:
    done = for_people(tmp_path, line(id="a", service="gw", trace_id="t"), line(level="debug"), b"{\n")
    assert done.code == 0
    assert done.out.splitlines() == [
        "line 1  routed",
        "    rules  gateway",
        "    topic  observability.logs  key t",
        "    topic  copies  key t",
        "    key    events:log:a  86400 s",
        "    key    logs:info:a  86400 s",
        "    index  trace_index:t  90000 s  -> events:log:a",
        "line 2  dropped",
        "    rules  quiet",
        "line 3  dead  not_json: the value is not valid JSON",
        "    topic  observability.dead_letter  without a key",
        "3 events as from observability.events: 1 routed, 1 dropped by a rule, 1 dead letters",
    ]


def test_an_id_that_a_terminal_would_obey_is_shown_as_json_writes_it(tmp_path: Path) -> None:
    done = for_people(tmp_path, line(id="\x1b[2J\n", trace_id="\x07"))
    assert "\x1b" not in done.out and "\x07" not in done.out
    assert '"events:log:\\u001b[2J\\n"' in done.out


def test_a_name_in_square_brackets_is_no_markup(tmp_path: Path) -> None:
    assert "events:log:[bold]x" in for_people(tmp_path, line(id="[bold]x")).out


@pytest.mark.parametrize("text", ["kafka: {grup_id: x}", "kafka: {input_topics: [observability.logs]}"])
def test_a_bad_config_exits_78_and_takes_no_event(tmp_path: Path, text: str) -> None:
    done = ingestd("test", "--json", "-c", config_file(tmp_path, text), stdin=line())
    assert (done.code, done.out) == (78, "") and "kafka." in done.err


def test_secrets_are_not_needed_as_nobody_is_asked(tmp_path: Path) -> None:
    assert one(tmp_path, line(), "redis: {password_file: /not/there}")["verdict"] == "routed"


def test_the_first_input_that_is_a_name_stands_for_the_source(tmp_path: Path) -> None:
    config = "kafka: {input_topics: ['^raw[.]', named]}"
    assert "events:log:named-0-0" in ttls(one(tmp_path, line(), config)["keys"])
    only_expressions = "kafka: {input_topics: ['^raw[.]']}"
    assert "events:log:observability.events-0-0" in ttls(one(tmp_path, line(), only_expressions)["keys"])
