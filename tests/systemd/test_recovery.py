"""What systemd starts again, and what it leaves alone: a stuck process, a stuck thread, a crash, an idle topic."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.feed import Feeder, feed
from tests.support.stopped_thread import StoppedThread
from tests.support.systemd_service import Service
from tests.support.verify import read_topics, redis_problems
from tests.support.wait import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300)]
RATE = 2000


def wait_restarted(service: Service, what: str, timeout_s: float = 20) -> None:
    begun_s = time.monotonic()
    wait_until(
        lambda: service.show("NRestarts") == "1" and service.show("ActiveState") == "active",
        "it was started again",
        timeout_s,
        0.1,
    )
    print(f"{what}: runs again after {time.monotonic() - begun_s:.1f} s")


def threads(pid: int) -> dict[str, int]:
    """Thread id by name."""
    return {(task / "comm").read_text().strip(): int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()}


def test_a_stopped_process_is_started_again_by_the_watchdog(service: Service):
    service.configure()
    service.drop_in(WatchdogSec=2, TimeoutAbortSec=2, RestartSec="100ms")
    service.start_working()
    os.kill(service.pid_outside(), signal.SIGSTOP)
    wait_restarted(service, "a stopped process")
    assert any("Watchdog timeout" in line for line in service.journal())
    feed(service.kafka.bootstrap, 0, 500, service.input)
    wait_until(service.all_committed, "it works again", 60)


def test_a_loop_that_does_not_turn_is_started_again_and_leaves_its_stacks_in_the_journal(service: Service):
    service.configure()
    service.drop_in(WatchdogSec=2, TimeoutAbortSec=2, RestartSec="100ms")
    service.start_working()
    with StoppedThread(service.pid_outside()):  # the main thread is the loop's; all others go on
        wait_restarted(service, "a stopped loop")
    lines = service.journal()
    assert any("Watchdog timeout" in line for line in lines)
    assert "Fatal Python error: Aborted" in lines


def test_a_stuck_thread_of_librdkafka_is_named_and_the_process_started_again(service: Service):
    service.configure()
    service.drop_in(WatchdogSec=2, TimeoutAbortSec=2, RestartSec="100ms")
    service.start_working()
    with StoppedThread(threads(service.pid_outside())["rdk:main"]):
        wait_restarted(service, "a stopped thread", 40)
    assert any(
        line.startswith("a part stands still, the watchdog is not fed") and "rdk:main" in line
        for line in service.journal(priority="err")
    )


def test_an_idle_topic_is_not_stuck(service: Service):
    service.configure()
    service.drop_in(WatchdogSec=1)
    service.start_working()
    time.sleep(13)  # thirteen watchdog periods, and long enough for a thread to count as silent
    assert (service.show("ActiveState"), service.show("NRestarts")) == ("active", "0")
    assert not any("stands still" in line for line in service.journal())
    feed(service.kafka.bootstrap, 0, 100, service.input)
    wait_until(service.all_committed, "it works", 20)


def test_a_crash_under_load_is_started_again_and_loses_nothing(service: Service):
    service.configure(kafka={"group_instance_id": "one"})
    service.drop_in(RestartSec="100ms")
    started_s = time.monotonic()
    service.start_working()
    feeder = Feeder(service.kafka.bootstrap, RATE, topic=service.input)
    feeder.start()
    try:
        for crash_count in (1, 2, 3):
            done = sum(service.kafka.ends(service.topics["logs"]).values())
            wait_until(
                lambda done=done: sum(service.kafka.ends(service.topics["logs"]).values()) > done + 500,
                "it is under load",
                60,
            )
            service.lab.run("systemctl", "kill", "-s", "KILL", service.unit)
            wait_until(lambda n=crash_count: service.show("NRestarts") == str(n), "it was started again", 20, 0.1)
        made = feeder.stop()
        wait_until(service.all_committed, "all is committed", 60)
    finally:
        feeder._stopping.set()
    service.systemctl("stop")
    assert service.show("Result") == "success"
    copies = read_topics(service.kafka.bootstrap, service.typed)
    assert set(copies.by_id) == {each.id for each in made}
    assert redis_problems(service.redis(), made, time.monotonic() - started_s) == []
