"""What is told to systemd, byte by byte."""

import os
import time
from pathlib import Path

import pytest

from ingestd.observers.sd_notify import Notifier
from tests.support.notify_socket import NotifySocket


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_each_state_is_one_datagram(kind: str, tmp_path: Path):
    address = str(tmp_path / "notify") if kind == "path" else f"@ingestd-test-{os.getpid()}"
    with NotifySocket(address) as systemd:
        notifier = Notifier(systemd.environment)
        notifier.ready("waiting for Redis")
        notifier.status("one\nline")
        notifier.alive()
        notifier.stopping("going", 2.5)
        assert systemd.messages() == [
            ["READY=1", "STATUS=waiting for Redis"],
            ["STATUS=one line"],
            ["WATCHDOG=1"],
            ["STOPPING=1", "EXTEND_TIMEOUT_USEC=2500000", "STATUS=going"],
        ]


def test_a_reload_carries_the_monotonic_time_that_systemd_compares(tmp_path: Path):
    with NotifySocket(str(tmp_path / "notify")) as systemd:
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        Notifier(systemd.environment).reloading("reading")
        ((first, stamp, status),) = systemd.messages()
    assert (first, status) == ("RELOADING=1", "STATUS=reading")
    assert before <= int(stamp.removeprefix("MONOTONIC_USEC=")) < before + 60_000_000


def test_without_systemd_nothing_is_sent():
    for environment in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}):
        notifier = Notifier(environment)
        notifier.ready("")
        assert not notifier.active and notifier.watchdog_s is None


def test_a_systemd_that_reads_is_told_everything(tmp_path: Path):
    with NotifySocket(str(tmp_path / "notify")) as systemd:
        notifier = Notifier(systemd.environment)
        for _ in range(300):  # far more than the socket's queue holds
            notifier.alive()
        assert systemd.heads() == ["WATCHDOG=1"] * 300


def test_a_systemd_that_is_gone_or_does_not_read_stops_nobody(tmp_path: Path):
    with NotifySocket(str(tmp_path / "notify"), reads=False) as systemd:
        notifier = Notifier(systemd.environment)
        begun_s = time.monotonic()
        for _ in range(300):  # far more than the socket's queue holds
            notifier.alive()
            if time.monotonic() - begun_s > 1:
                break
        assert set(systemd.heads()) == {"WATCHDOG=1"}
    notifier.alive()
    (tmp_path / "notify").unlink()
    notifier.alive()


@pytest.mark.parametrize(
    ("more", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_for_the_process_that_it_names(more: dict[str, str], watchdog_s: float | None):
    assert Notifier({"NOTIFY_SOCKET": "/run/notify", **more}).watchdog_s == watchdog_s
