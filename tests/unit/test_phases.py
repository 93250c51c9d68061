"""The clock of the loop's phases, with clocks that a test moves."""

import pytest

from ingestd.phases import COMMIT, OTHER, PHASES, POLL, PROCESS, REDIS, Phases


class Clocks:
    """Work moves both; sleep the wall clock alone."""

    def __init__(self) -> None:
        self.cpu_ns, self.wall_ns = 5_000, 1_000_000
        self.phases = Phases(lambda: self.cpu_ns, lambda: self.wall_ns)

    def work(self, seconds: float) -> None:
        self.cpu_ns += int(seconds * 1e9)
        self.wall_ns += int(seconds * 1e9)

    def sleep(self, seconds: float) -> None:
        self.wall_ns += int(seconds * 1e9)


def test_time_goes_to_the_phase_that_was_entered_last():
    clocks = Clocks()
    clocks.work(1)
    clocks.phases.enter(POLL)
    clocks.work(2)
    clocks.phases.enter(PROCESS)
    clocks.work(3)
    clocks.phases.enter(OTHER)
    assert clocks.phases.seconds() == dict.fromkeys((*PHASES, "waiting"), 0) | {"other": 1, "poll": 2, "process": 3}


def test_a_phase_inside_another_goes_back_to_it():
    clocks = Clocks()
    clocks.phases.enter(REDIS)
    before = clocks.phases.enter(COMMIT)
    clocks.work(1)
    assert before == REDIS
    clocks.phases.enter(before)
    clocks.work(2)
    assert clocks.phases.seconds()["commit"] == 1
    assert clocks.phases.seconds()["redis"] == 2


def test_waiting_is_what_the_thread_did_not_run_and_all_is_the_wall_clock():
    clocks = Clocks()
    clocks.sleep(4)
    clocks.phases.enter(POLL)
    clocks.work(1)
    clocks.sleep(0.5)  # no processor for it
    spent = clocks.phases.seconds()
    assert (spent["waiting"], spent["poll"]) == (4.5, 1)
    assert sum(spent.values()) == pytest.approx(5.5)


def test_what_is_asked_for_does_not_change_what_is_counted():
    clocks = Clocks()
    clocks.phases.enter(POLL)
    for _ in range(3):
        clocks.work(1)
        clocks.phases.seconds()
    assert clocks.phases.seconds()["poll"] == 3


def test_waiting_never_goes_back_when_the_clocks_are_read_at_different_times():
    clocks = Clocks()
    clocks.sleep(1)
    first = clocks.phases.seconds()["waiting"]
    clocks.cpu_ns += 1000
    assert clocks.phases.seconds()["waiting"] == first
