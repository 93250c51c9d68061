"""The ledger, case by case."""

import pytest

from ingestd.pipeline.ledger import Ledger, LedgerRun


def run(first: int, last: int, partition: int = 0, topic: str = "in") -> LedgerRun:
    return LedgerRun(topic, partition, first, last, last - first + 1, 7, 1000 + first)


def offsets(ledger: Ledger) -> dict[int, int]:
    return {row.partition: row.next_offset for row in ledger.take_storable()}


def test_an_offset_is_storable_only_when_its_batch_is_finished():
    ledger = Ledger()
    ledger.assign("in", 0, 0)
    ledger.open(1, [run(0, 9)])
    assert offsets(ledger) == {}
    assert ledger.finish(1) == [True]
    assert offsets(ledger) == {0: 10}
    assert offsets(ledger) == {}, "it is told once"


def test_a_finished_batch_behind_an_unfinished_one_waits_for_it():
    ledger = Ledger()
    ledger.assign("in", 0, 0)
    ledger.open(1, [run(0, 9)])
    ledger.open(2, [run(10, 19)])
    ledger.finish(2)
    assert offsets(ledger) == {}
    ledger.finish(1)
    assert offsets(ledger) == {0: 20}


def test_partitions_of_one_batch_are_told_apart():
    ledger = Ledger()
    ledger.assign("in", 0, 0)
    ledger.assign("in", 1, 50)
    ledger.open(1, [run(0, 9)])
    ledger.open(2, [run(50, 59, 1), run(10, 19)])
    ledger.finish(2)
    assert offsets(ledger) == {1: 60}


def test_a_late_result_of_an_old_generation_is_ignored():
    ledger = Ledger()
    ledger.assign("in", 0, 0)
    ledger.open(1, [run(0, 9)])
    assert ledger.revoke("in", 0) == 10
    ledger.assign("in", 0, 0)
    assert ledger.finish(1) == [False]
    assert offsets(ledger) == {}
    assert ledger.unfinished() == 0


def test_records_of_a_partition_that_is_not_assigned_are_told_and_wait_for_nobody():
    ledger = Ledger()
    assert ledger.open(1, [run(0, 9)]) == [run(0, 9)]
    assert ledger.finish(1) == [False]


def test_the_position_of_an_idle_partition_passes_over_markers_and_never_goes_back():
    ledger = Ledger()
    ledger.assign("in", 0, 5)
    ledger.advance("in", 0, 8)
    assert offsets(ledger) == {0: 8}
    ledger.advance("in", 0, 6)
    assert offsets(ledger) == {}
    ledger.open(1, [run(8, 9)])
    ledger.advance("in", 0, 12)
    assert offsets(ledger) == {}, "something is open"


def test_the_leader_epoch_is_that_of_the_last_finished_record():
    ledger = Ledger()
    ledger.assign("in", 0, 0)
    ledger.open(1, [run(0, 9)._replace(leader_epoch=3)])
    ledger.finish(1)
    assert ledger.take_storable()[0].leader_epoch == 3


def test_how_far_behind_is_the_time_of_the_oldest_open_record():
    ledger = Ledger()
    ledger.assign("in", 0, 0)
    assert ledger.first_unfinished_ms("in", 0) == -1
    ledger.open(1, [run(0, 9)])
    ledger.open(2, [run(10, 19)])
    assert ledger.first_unfinished_ms("in", 0) == 1000
    ledger.finish(1)
    assert ledger.first_unfinished_ms("in", 0) == 1010


def test_records_that_come_again_in_one_generation_never_move_the_offset_back():
    ledger = Ledger()
    ledger.assign("in", 0, 0)
    ledger.open(1, [run(0, 9)])
    ledger.open(2, [run(10, 19)])
    ledger.open(3, [run(10, 14)])  # once more
    ledger.finish(1)
    ledger.finish(2)
    assert offsets(ledger) == {0: 20}
    assert ledger.unfinished() == 5
    ledger.finish(3)
    assert offsets(ledger) == {} and ledger.next_offset("in", 0) == 20
    ledger.open(4, [run(15, 29)])
    ledger.finish(4)
    assert offsets(ledger) == {0: 30}


def test_a_record_from_before_the_start_or_an_idle_position_is_a_fault():
    ledger = Ledger()
    ledger.assign("in", 0, 5)
    with pytest.raises(AssertionError, match="opened behind 5"):
        ledger.open(1, [run(4, 9)])
    ledger.advance("in", 0, 12)
    with pytest.raises(AssertionError, match="opened behind 12"):
        ledger.open(2, [run(11, 19)])
