"""The daemon as a service, with a made-up systemd at the other end of the socket. On the mock cluster."""

import asyncio
import logging
import os
from pathlib import Path

import pytest
import uvloop

from tests.support.harness import Harness, make_config, mock_cluster, settled, until
from tests.support.notify_socket import NotifySocket
from tests.support.redis_node import RedisNode

STANDS = "a part stands still, the watchdog is not fed"


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with NotifySocket(str(tmp_path / "notify"), WATCHDOG_USEC="300000", WATCHDOG_PID=str(os.getpid())) as end:
        for name, value in end.environment.items():
            monkeypatch.setenv(name, value)
        yield end


def test_ready_comes_before_the_sinks_are_there_and_the_status_says_what_is_awaited(
    systemd: NotifySocket, redis_node: RedisNode
):
    cluster = mock_cluster()
    cluster.broker_down()
    redis_node.stop()
    harness = Harness(make_config(cluster, redis_node.url))

    async def run() -> None:
        async with harness as app:
            await until(lambda: "WATCHDOG=1" in systemd.heads(), "the watchdog is fed")
            assert systemd.messages()[0] == ["READY=1", "STATUS=waiting for the consumer group and Redis"]
            redis_node.start()
            await until(lambda: ["STATUS=waiting for the consumer group"] in systemd.messages(), "Redis is there")
            cluster.broker_up()
            await settled(app)
            working = ["STATUS=0 events/s, lag 0 records, 1 partitions"]
            await until(lambda: systemd.messages()[-1] == working or working in systemd.messages(), "it works")

    try:
        uvloop.run(run())
    finally:
        cluster.close()
    assert harness.code == 0
    # A stop: the bound is twice the drain, the leave, one question to the cluster, and the end of the handles.
    (stopping,) = [message for message in systemd.messages() if message[0] == "STOPPING=1"]
    assert stopping == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=38000000", "STATUS=stopping: 0 events are being finished"]
    assert "READY=1" not in systemd.heads()[1:]


def test_a_reload_is_announced_from_its_beginning_to_its_end(systemd: NotifySocket, redis_node: RedisNode):
    cluster = mock_cluster()
    harness = Harness(make_config(cluster, redis_node.url))

    async def run() -> None:
        async with harness as app:
            await settled(app)
            await app.reloader.reload()  # it was not started from a file: that is a problem, and an end all the same
            told = [head for head in systemd.heads() if head in ("READY=1", "RELOADING=1")]
            assert told == ["READY=1", "RELOADING=1", "READY=1"]

    try:
        uvloop.run(run())
    finally:
        cluster.close()


def test_the_watchdog_hungers_when_the_tick_ends_or_a_thread_stands(systemd: NotifySocket, redis_node: RedisNode):
    cluster = mock_cluster()
    harness = Harness(make_config(cluster, redis_node.url))

    def fed_count() -> int:
        return systemd.heads().count("WATCHDOG=1")

    async def hungers(part: str) -> None:
        def said() -> list[logging.LogRecord]:
            return [record for record in harness.lines.records if record.getMessage() == STANDS]

        await until(lambda: said() and part in vars(said()[-1])["part"], f"it names {part}")
        before = fed_count()
        await asyncio.sleep(0.5)  # five feeds' time
        assert fed_count() == before

    async def run() -> None:
        async with harness as app:
            await settled(app)
            await until(lambda: fed_count() > 3, "it is fed")
            read, app.systemd._threads.silent = app.systemd._threads.silent, lambda now_s, limit_s: ["rdk:main"]
            await hungers("rdk:main")
            app.systemd._threads.silent = read
            before = fed_count()
            await until(lambda: fed_count() > before + 3, "it is fed again")
            app.source._pump = lambda: None
            app.source._serve_control = app.source.store = lambda: None
            tick = next(task for task in app.source._tasks if "_tick" in repr(task))
            tick.cancel()
            await hungers("the source's tick")

    try:
        uvloop.run(run())
    finally:
        cluster.close()
