"""Every shape of input ends as the event model says, whatever rules are loaded, and in the twin as in the fast path."""

import json

import pytest

from ingestd._fastpath import RouteTable
from ingestd.events.vocabulary import Fault, Verdict
from tests.support import shapes
from tests.support.fastpath import EVENT_BYTES_MAX, compiled, record, rule, run_records, table
from tests.support.model import Bad, read, resolve
from tests.support.resp import commands

# The second one reads everything that a rule can read, so that what is decoded differs.
RULES_THAT_READ_ALL = compiled(
    [
        rule("drop", services=["no"], components=["no"], labels={"env": ["no"], "a": ["no"]}, correlation_ids=["no"]),
        rule("copy", ["copies"], labels={"correlation_id": ["no"]}),
    ]
)[0]
TABLES = {"no rules": (), "rules that read all": RULES_THAT_READ_ALL}


@pytest.fixture(params=TABLES)
def route_table(request: pytest.FixtureRequest) -> RouteTable:
    return table(TABLES[request.param])


@pytest.mark.parametrize("shape", shapes.BAD, ids=lambda shape: shape.name[:60])
def test_a_bad_shape_ends_as_one_dead_letter_of_its_class(shape: shapes.Shape, route_table: RouteTable):
    batch = run_records([record(shape.payload)], route_table)
    assert [(Verdict(v), Fault(f)) for v, f in batch.verdicts()] == [(Verdict.DEAD, shape.fault)]
    assert [send[1] for send in batch.sends()] == [5]
    assert batch.resp() == b""


@pytest.mark.parametrize("shape", shapes.GOOD, ids=lambda shape: shape.name[:60])
def test_a_good_shape_is_routed_and_stored_byte_for_byte(shape: shapes.Shape, route_table: RouteTable):
    batch = run_records([record(shape.payload)], route_table)
    assert [(Verdict(v), Fault(f)) for v, f in batch.verdicts()] == [(Verdict.ROUTED, Fault.NONE)]
    stored = [command[2] for command in commands(batch.resp()) if command[0] == b"SET"]
    assert stored and all(value == shape.payload for value in stored)


@pytest.mark.parametrize("shape", shapes.ALL, ids=lambda shape: shape.name[:60])
def test_the_twin_judges_every_shape_alike(shape: shapes.Shape):
    try:
        resolve(record(shape.payload), read(shape.payload, EVENT_BYTES_MAX), 0, [])
        found = Fault.NONE
    except Bad as bad:
        found = bad.args[0]
    assert found is shape.fault


@pytest.mark.parametrize("shape", shapes.GOOD, ids=lambda shape: shape.name[:60])
def test_what_is_good_is_json_for_python_too(shape: shapes.Shape):
    # Without int's limit of 4,300 digits, which is Python's own and no part of JSON.
    assert isinstance(json.loads(shape.payload, parse_int=str), dict)


def test_no_shape_disturbs_another_in_its_batch(route_table: RouteTable):
    batch = run_records([record(shape.payload, offset) for offset, shape in enumerate(shapes.ALL)], route_table)
    assert [Fault(fault) for _, fault in batch.verdicts()] == [shape.fault for shape in shapes.ALL]
    assert len(commands(batch.resp())) == batch.reply_ends()[-1]
    assert batch.runs()[0].dead_count == len(shapes.BAD)
