"""Unit tests of the bench's events. In: numbers. Out: the bytes, and what must be found of each. No cluster."""

import hashlib
import json
import statistics
from collections import Counter

import pytest

from bench.events import make

# Of the first thousand payloads. Figures of two machines, or of two days, may be compared only while this stands.
FIRST_THOUSAND_SHA256 = "5cb5a351ec83a297f01280f0293eddf63a135a8532477105428c4835bdff5c94"


@pytest.fixture(scope="module")
def made() -> list:
    return [make(index) for index in range(1000)]


def test_the_same_events_come_out_on_every_machine_and_python(made: list) -> None:
    assert hashlib.sha256(b"\n".join(event.payload for event in made)).hexdigest() == FIRST_THOUSAND_SHA256


def test_another_seed_gives_other_ids_and_other_bytes(made: list) -> None:
    other = [make(index, seed=2) for index in range(1000)]
    assert not {event.id for event in made} & {event.id for event in other}
    assert not {event.payload for event in made} & {event.payload for event in other}


def test_what_must_be_found_is_what_the_payload_says(made: list) -> None:
    for event in made:
        fields = json.loads(event.payload)
        for name in ("id", "type", "level"):
            assert fields[name] == getattr(event, name)
        for name in ("correlation_id", "trace_id", "span_id"):
            assert fields.get(name, "") == getattr(event, name)
            assert fields.get(name) != "", "an empty id is absent, never empty"


def test_ids_are_unique_and_a_trace_id_is_32_hex_digits(made: list) -> None:
    assert len({event.id for event in made}) == len(made)
    for event in made:
        if event.trace_id:
            assert len(event.trace_id) == 32 and int(event.trace_id, 16) >= 0


def test_shares_of_types_and_correlation_are_those_that_the_module_names(made: list) -> None:
    assert Counter(event.type for event in made) == {"log": 600, "metric": 200, "trace": 140, "alert": 30, "health": 30}
    assert sum(bool(event.correlation_id) for event in made) == 700
    assert set(Counter(event.correlation_id for event in made if event.correlation_id).values()) == {5}


@pytest.mark.parametrize("size_bytes", [500, 800, 2000])
def test_an_event_has_the_size_that_was_asked_for(size_bytes: int) -> None:
    sizes = [len(make(index, size_bytes=size_bytes).payload) for index in range(500)]
    assert max(sizes) <= size_bytes and statistics.mean(sizes) > 0.99 * size_bytes
