"""SIGHUP under traffic: the new file is taken over between two batches, or changes nothing. On the mock cluster."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
import uvloop

from ingestd._librdkafka import MockCluster
from ingestd.app import App
from ingestd.config import full_check
from ingestd.config.loading import load_located
from ingestd.config.schema import Config
from ingestd.telemetry import logs
from tests.support.daemon_process import ALL_TOPICS, merged
from tests.support.harness import LogLines, event, mock_cluster, publish, read_all, settled, until
from tests.support.redis_node import RedisNode
from tests.support.wait import MULTIPLIER

LOGS = "observability.logs"


@pytest.fixture
def cluster():
    node = mock_cluster()
    node.create_topic("elsewhere", 1)
    yield node
    node.close()


class Reloading:
    """The daemon in this process with a config file that can be rewritten."""

    def __init__(self, folder: Path, cluster: MockCluster, redis_url: str) -> None:
        self.path = folder / "config.yaml"
        self.base = {
            "kafka": {"brokers": [cluster.bootstraps], "client_id": "test"},
            "redis": {"url": redis_url},
            "http": {"listen": None},
            "health": {"interval_s": 3600},
            "pipeline": {"commit_interval_ms": 100},
        }
        self.write()
        self.lines = LogLines()

    def write(self, **overrides: object) -> None:
        self.path.write_text(json.dumps(merged(self.base, overrides)))

    def read(self) -> Config:
        loaded = load_located(str(self.path))
        full_check.ensure(loaded)
        return loaded.config

    async def hang_up(self, message: str) -> None:
        """SIGHUP, and wait for the line that says what became of it."""
        before = self.lines.messages().count(message)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: self.lines.messages().count(message) > before, message)

    async def __aenter__(self) -> App:
        log = logs.set_up("debug", "json")
        log.handlers[:] = [self.lines]
        self.app = App(self.read(), log, None, self.read)
        self._run = asyncio.create_task(self.app.run())
        return self.app

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.app.stopping.set()
        assert await asyncio.wait_for(self._run, 60 * MULTIPLIER) == 0 or kind


def test_rules_ttls_and_limits_change_without_a_rebalance(cluster: MockCluster, redis_node: RedisNode, tmp_path: Path):
    client = redis_node.client()
    reloading = Reloading(tmp_path, cluster, redis_node.url)

    async def run() -> None:
        async with reloading as app:
            await settled(app)
            await asyncio.to_thread(publish, cluster, [event(f"a{n}") for n in range(50)])
            await until(lambda: app.books.total("delivered") == 50, "the first fifty are done")
            reloading.write(
                rules=[
                    {"name": "away", "match": {"services": ["noisy"]}, "action": "drop"},
                    {"name": "too", "action": "copy", "topics": ["elsewhere"]},
                ],
                storage={"logs_ttl_s": 1_000_000},
                pipeline={"batch_events_max": 7, "in_flight_events_max": 20},
                health={"lag_warning_s": 5},
                logging={"level": "info"},
            )
            await reloading.hang_up("config reloaded")
            payloads = [event(f"b{n}", service="noisy" if n % 2 else "quiet") for n in range(50)]
            await asyncio.to_thread(publish, cluster, payloads)
            await until(lambda: app.books.total("dropped") == 25, "the rule drops")
            await until(lambda: app.books.total("delivered") == 75, "the others go on")
            assert app.books.balances()
            assert app.engine.limits.batch_events_max == 7

    uvloop.run(run())
    assert reloading.lines.messages().count("partitions assigned") == 1
    assert {json.loads(m.value())["id"] for m in read_all(cluster, "elsewhere", 25)} == {
        f"b{n}" for n in range(0, 50, 2)
    }
    assert len(read_all(cluster, LOGS, 75)) == 75
    assert client.ttl("logs:info:a0") <= 86400 < client.ttl("logs:info:b0")
    # The index knows the longer time too, though its key was refreshed a moment before.
    assert client.ttl("correlation_index:c") > 1_000_000


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kafka: [", "(file)"),
        ('{"rules": [{"name": "r", "action": "dropp"}]}', "rules[0].action"),
        ('{"pipeline": {"batch_events_max": 0}}', "pipeline.batch_events_max"),
        ("health: {interval_s: !!int abc}", "(file)"),
        ("health: {interval_s: 0x_}", "health.interval_s"),
        ('rules: [{name: r, action: drop, match: {labels: {a: "\\ud800"}}}]', "(file)"),
        ('{"kafka": {"consumer_options": {"socket.timeout.ms": "soon"}}}', "kafka.consumer_options.socket.timeout.ms"),
    ],
)
def test_a_bad_file_changes_nothing_and_says_why(
    cluster: MockCluster, redis_node: RedisNode, tmp_path: Path, text: str, problem: str
):
    reloading = Reloading(tmp_path, cluster, redis_node.url)

    async def run() -> None:
        async with reloading as app:
            await settled(app)
            before = app.config
            reloading.path.write_text(text)
            await reloading.hang_up("the new config has problems, the old one stays")
            assert app.config is before
            await asyncio.to_thread(publish, cluster, [event("a")])
            await until(lambda: app.books.total("delivered") == 1, "it goes on")

    uvloop.run(run())
    said = next(record for record in reloading.lines.records if "problems" in vars(record))
    assert any(problem in text for text in vars(said)["problems"])


def test_keys_that_need_a_restart_are_named_and_the_others_taken_over(
    cluster: MockCluster, redis_node: RedisNode, tmp_path: Path
):
    reloading = Reloading(tmp_path, cluster, redis_node.url)

    async def run() -> None:
        async with reloading as app:
            await settled(app)
            reloading.write(kafka={"group_id": "another"}, storage={"logs_ttl_s": 77})
            await reloading.hang_up("config reloaded, some keys need a restart")
            assert app.config.kafka.group_id == "ingestd" and app.config.storage.logs_ttl_s == 77

    uvloop.run(run())
    said = next(record for record in reloading.lines.records if "need_a_restart" in vars(record))
    assert vars(said)["need_a_restart"] == ("kafka.group_id",)


def test_a_file_that_is_sound_alone_is_refused_where_what_runs_would_loop(
    cluster: MockCluster, redis_node: RedisNode, tmp_path: Path
):
    """The input changes only with a restart, so a rule may not write to the one that is still read."""
    reloading = Reloading(tmp_path, cluster, redis_node.url)

    async def run() -> None:
        async with reloading as app:
            await settled(app)
            loop = [{"name": "round", "action": "copy", "topics": [ALL_TOPICS[0]]}]
            reloading.write(kafka={"input_topics": ["elsewhere"]}, rules=loop)
            await reloading.hang_up("the new config has problems, the old one stays")
            assert app.config.rules == ()

    uvloop.run(run())
