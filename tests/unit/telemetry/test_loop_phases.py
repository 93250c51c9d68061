"""The clock of the loop's phases, with clocks that a test moves."""

import pytest

from ingestd.telemetry.loop_phases import COMMIT, OTHER, PHASES, POLL, PROCESS, REDIS, Phases


class Clocks:
    """A thread that works, sleeps, or is ready and has no processor."""

    def __init__(self) -> None:
        self.now_ns, self.cpu_ns, self.ready_ns = 1_000_000, 5_000, 70
        self.phases = Phases(lambda: self.now_ns, lambda: self.cpu_ns, lambda: self.ready_ns)

    def work(self, seconds: float) -> None:
        self.cpu_ns += int(seconds * 1e9)
        self.now_ns += int(seconds * 1e9)

    def sleep(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)

    def starve(self, seconds: float) -> None:
        self.ready_ns += int(seconds * 1e9)
        self.now_ns += int(seconds * 1e9)


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


def test_sleep_between_callbacks_is_waiting_and_unmarked_work_is_other():
    clocks = Clocks()
    for _ in range(3):
        clocks.sleep(2)
        clocks.work(0.5)
        before = clocks.phases.enter(POLL)
        clocks.work(1)
        clocks.phases.enter(before)
    spent = clocks.phases.seconds()
    assert (spent["waiting"], spent["other"], spent["poll"]) == (6, 1.5, 3)


def test_a_thread_without_a_processor_does_not_wait_and_says_how_long_it_stood():
    clocks = Clocks()
    clocks.starve(1)  # awake, not yet running
    before = clocks.phases.enter(PROCESS)
    clocks.work(2)
    clocks.starve(3)
    clocks.phases.enter(before)
    clocks.sleep(4)
    spent = clocks.phases.seconds()
    assert (spent["other"], spent["process"], spent["waiting"]) == (1, 5, 4)
    assert clocks.phases.ready_s() == pytest.approx(4)


def test_all_phases_are_the_wall_clock():
    clocks = Clocks()
    started_ns = clocks.now_ns
    for phase in range(len(PHASES)):
        before = clocks.phases.enter(phase)
        clocks.work(0.25 * phase)
        clocks.starve(0.1)
        clocks.phases.enter(before)
        clocks.sleep(1.5)
        assert sum(clocks.phases.seconds().values()) == pytest.approx((clocks.now_ns - started_ns) / 1e9)


def test_what_is_asked_for_does_not_change_what_is_counted():
    clocks = Clocks()
    clocks.phases.enter(POLL)
    for _ in range(3):
        clocks.work(1)
        clocks.phases.seconds()
    assert clocks.phases.seconds()["poll"] == 3


def test_nothing_goes_back_when_the_clocks_disagree():
    clocks = Clocks()
    clocks.work(1)
    clocks.sleep(1)
    first = clocks.phases.seconds()
    clocks.cpu_ns += 1000  # read a little later than the other
    second = clocks.phases.seconds()
    clocks.phases.enter(POLL)
    clocks.sleep(0.5)  # on the interpreter's lock, in a marked place
    third = clocks.phases.seconds()
    for name in first:
        assert first[name] <= second[name] <= third[name], name
