"""`ingestd validate` against librdkafka's mock cluster and a private Redis: what is missing, silent, wrong or well."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingestd._librdkafka import MockCluster
from ingestd.cli import topics, validate
from ingestd.pipeline.sinks import redis_server
from tests.support.command import Done, config_file, ingestd
from tests.support.daemon_process import ALL_TOPICS, INPUT, merged
from tests.support.harness import mock_cluster
from tests.support.ports import free_ports
from tests.support.redis_node import RedisNode
from tests.support.wait import MULTIPLIER

ASK_FOR_LIMITS = topics.Cluster.message_bytes_limits


@pytest.fixture(autouse=True)
def time_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that live have time on a busy machine too. DescribeConfigs the mock cluster never answers: one test waits
    to see that."""
    give_time(monkeypatch, kafka_s=10.0, redis_s=10.0)
    monkeypatch.setattr(topics.Cluster, "message_bytes_limits", lambda self, names: dict.fromkeys(names, 1 << 30))


def give_time(monkeypatch: pytest.MonkeyPatch, *, kafka_s: float, redis_s: float) -> None:
    monkeypatch.setattr(topics, "ANSWER_TIMEOUT_S", kafka_s * MULTIPLIER)
    for module in (validate, redis_server):
        monkeypatch.setattr(module, "DIAL_TIMEOUT_S", redis_s * MULTIPLIER)


@pytest.fixture
def a_broker_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for to the end of its time, and those that live have to answer in that."""
    give_time(monkeypatch, kafka_s=2.0, redis_s=10.0)


@pytest.fixture
def redis_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    give_time(monkeypatch, kafka_s=10.0, redis_s=0.5)


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[MockCluster]:
    made = mock_cluster(3)
    made.create_topic("incoming.a", 1)
    yield made
    made.close()


@pytest.fixture
def cluster(shared_cluster: MockCluster) -> Iterator[MockCluster]:
    """All topics are there. A test may take the broker down."""
    yield shared_cluster
    shared_cluster.broker_up()


@pytest.fixture(scope="module")
def empty_cluster() -> Iterator[MockCluster]:
    """Has only one topic, and no test makes others."""
    made = MockCluster(1)
    made.create_topic("observability.logs", 1)
    yield made
    made.close()


class Asked:
    """One run with `--json`."""

    def __init__(self, done: Done) -> None:
        self.code = done.code
        self.checked: list[str] = done.json["checked"]
        self.problems = {row["path"]: row for row in done.json["problems"]}
        self.warnings = {row["path"]: row for row in done.json["warnings"]}
        self.notes = {row["path"]: row for row in done.json["notes"]}


def ask(folder: Path, cluster: MockCluster, redis_url: str, **more: Any) -> Asked:
    base = {"kafka": {"brokers": [cluster.bootstraps]}, "redis": {"url": redis_url}}
    return Asked(ingestd("validate", "--json", "-c", config_file(folder, json.dumps(merged(base, more)))))


def nobody() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


def test_a_cluster_with_every_topic_and_a_good_redis_have_no_problem(
    cluster: MockCluster, redis_node: RedisNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(topics.Cluster, "message_bytes_limits", ASK_FOR_LIMITS)
    asked = ask(tmp_path, cluster, redis_node.url)
    assert (asked.code, asked.problems, asked.notes) == (0, {}, {})
    # As on a cluster where the right to DescribeConfigs is missing.
    assert set(asked.warnings) == {"pipeline.event_bytes_max"}
    assert "kafka brokers: 1 of 1 named ones answer, the cluster has 1" in asked.checked
    assert "kafka topics: 6 of 6 outputs are there" in asked.checked
    (server,) = [line for line in asked.checked if line.startswith(("redis: Redis ", "redis: Valkey "))]
    assert server.endswith(f":{redis_node.port}")


def test_every_topic_that_is_missing_is_told_at_its_key(
    empty_cluster: MockCluster, redis_node: RedisNode, tmp_path: Path
):
    rules = [{"name": "r", "action": "copy", "topics": ["copies"]}]
    kafka = {"input_topics": ["missing", "^nothing"], "index_only_topics": ["typed"]}
    asked = ask(tmp_path, empty_cluster, redis_node.url, rules=rules, kafka=kafka)
    assert asked.code == 1
    assert set(asked.problems) == {
        "kafka.input_topics",
        "kafka.index_only_topics",
        *(f"kafka.topics.{key}" for key in ("metrics", "alerts", "traces", "health_checks", "dead_letter")),
        "rules[0].topics",
    }
    assert {row["mend"] for row in asked.problems.values()} == {"ingestd topics create"}
    assert "no topic missing" in asked.problems["kafka.input_topics"]["what"]
    assert "^nothing matches no topic" in asked.warnings["kafka.input_topics"]["what"]


def test_an_expression_that_finds_a_topic_is_well(cluster: MockCluster, redis_node: RedisNode, tmp_path: Path):
    asked = ask(tmp_path, cluster, redis_node.url, kafka={"input_topics": ["^incoming[.][[:alpha:]]$"]})
    assert (asked.code, "kafka.input_topics" in asked.warnings) == (0, False)


@pytest.mark.usefixtures("a_broker_is_silent")
def test_no_broker_that_answers_is_a_problem_for_each_and_redis_is_asked_all_the_same(
    cluster: MockCluster, redis_node: RedisNode, tmp_path: Path
):
    cluster.broker_down()
    asked = ask(tmp_path, cluster, redis_node.url, kafka={"brokers": [cluster.bootstraps, nobody()]})
    assert asked.code == 1
    assert set(asked.problems) == {"kafka.brokers[0]", "kafka.brokers[1]"}
    assert all("refused" in row["what"] for row in asked.problems.values()), "the reason, not only a time-out"
    assert any(line.startswith("redis: ") for line in asked.checked)


@pytest.mark.usefixtures("a_broker_is_silent")
def test_one_of_several_brokers_that_is_silent_is_a_warning(
    cluster: MockCluster, redis_node: RedisNode, tmp_path: Path
):
    silent = nobody()
    asked = ask(tmp_path, cluster, redis_node.url, kafka={"brokers": [silent, cluster.bootstraps]})
    assert (asked.code, asked.problems) == (0, {})
    assert silent in asked.warnings["kafka.brokers[0]"]["what"]


def test_brokers_of_two_clusters_are_a_problem(
    cluster: MockCluster, empty_cluster: MockCluster, redis_node: RedisNode, tmp_path: Path
):
    both = [cluster.bootstraps, empty_cluster.bootstraps]
    asked = ask(tmp_path, cluster, redis_node.url, kafka={"brokers": both})
    assert asked.code == 1
    assert "different clusters" in asked.problems["kafka.brokers"]["what"]


@pytest.mark.usefixtures("a_broker_is_silent")
def test_a_broker_that_the_cluster_names_and_that_is_silent_is_a_problem(redis_node: RedisNode, tmp_path: Path):
    cluster = MockCluster(2)
    first, second = cluster.bootstraps.split(",")
    cluster.broker_delay_ms(60_000, 2)
    asked = ask(tmp_path, cluster, redis_node.url, kafka={"brokers": [first]})
    cluster.close()
    assert asked.code == 1
    problem = asked.problems["kafka.brokers"]
    assert "advertised.listeners" in problem["mend"]
    assert f"broker 2 sends clients to {second}" in problem["what"]


@pytest.mark.usefixtures("redis_is_silent")
def test_a_redis_that_is_down_or_frozen_is_a_problem_in_good_time(
    cluster: MockCluster, redis_node: RedisNode, tmp_path: Path
):
    redis_node.freeze()
    asked = ask(tmp_path, cluster, redis_node.url)
    redis_node.stop()
    assert (asked.code, set(asked.problems)) == (1, {"redis.url"})
    asked = ask(tmp_path, cluster, redis_node.url)
    assert (asked.code, set(asked.problems)) == (1, {"redis.url"})
    assert "does not answer" in asked.problems["redis.url"]["what"]


def test_a_password_that_is_missing_or_wrong_is_a_problem_at_its_key(cluster: MockCluster, tmp_path: Path):
    node = RedisNode(tmp_path / "redis", extra=("--requirepass", "right"))
    node.start()
    (tmp_path / "wrong").write_text("wrong\n")
    (tmp_path / "right").write_text("right\n")
    try:
        for redis in ({}, {"password_file": str(tmp_path / "wrong")}):
            asked = ask(tmp_path, cluster, node.url, redis=redis)
            assert (asked.code, set(asked.problems)) == (1, {"redis.password_file"})
        asked = ask(tmp_path, cluster, node.url, redis={"password_file": str(tmp_path / "right")})
        assert (asked.code, asked.problems) == (0, {})
    finally:
        node.stop()


def test_a_replica_an_evicting_policy_and_missing_replicas_are_told_together(
    cluster: MockCluster, redis_node: RedisNode, tmp_path: Path
):
    client = redis_node.client()
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("appendonly", "no")
    client.replicaof("127.0.0.1", free_ports(1)[0])
    asked = ask(tmp_path, cluster, redis_node.url, redis={"wait_replicas": 1})
    assert asked.code == 1
    assert "is a slave" in asked.problems["redis.url"]["what"]
    assert set(asked.warnings) >= {"redis.url", "redis.wait_replicas"}
    assert "keeps nothing" in asked.notes["redis.url"]["what"]


@pytest.mark.usefixtures("redis_is_silent")
def test_sentinels_that_are_silent_are_a_problem_at_their_key(cluster: MockCluster, tmp_path: Path):
    sentinel = {"master": "main", "nodes": [nobody()]}
    asked = ask(tmp_path, cluster, "redis://127.0.0.1:1", redis={"sentinel": sentinel})
    assert (asked.code, set(asked.problems)) == (1, {"redis.sentinel"})


@pytest.mark.usefixtures("a_broker_is_silent")
def test_a_bad_config_outweighs_a_silent_cluster(redis_node: RedisNode, cluster: MockCluster, tmp_path: Path):
    cluster.broker_down()
    asked = ask(tmp_path, cluster, redis_node.url, pipeline={"batch_events_max": 0})
    assert asked.code == 78
    assert set(asked.problems) == {"pipeline.batch_events_max", "kafka.brokers[0]"}


def test_topics_that_take_too_small_records_are_told_with_the_command_that_mends_them(
    cluster: MockCluster, redis_node: RedisNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A typed topic's small limit makes dead letters; that of the dead letters themselves would lose their ends."""
    limits = {"observability.logs": 1_000_000, "observability.dead_letter": 1_000_000}
    monkeypatch.setattr(
        topics.Cluster, "message_bytes_limits", lambda self, names: {name: limits.get(name, 1 << 30) for name in names}
    )
    asked = ask(tmp_path, cluster, redis_node.url)
    assert (asked.code, set(asked.problems)) == (1, {"kafka.topics.dead_letter"})
    assert set(asked.warnings) == {"kafka.topics.logs"}
    needed_bytes = 1_048_576 + 65_536
    assert f"--add-config max.message.bytes={needed_bytes}" in asked.problems["kafka.topics.dead_letter"]["mend"]


def test_asking_creates_no_topic(empty_cluster: MockCluster, redis_node: RedisNode, tmp_path: Path):
    first = ask(tmp_path, empty_cluster, redis_node.url)
    second = ask(tmp_path, empty_cluster, redis_node.url)
    assert first.problems == second.problems and len(first.problems) == len(ALL_TOPICS) - 1
    assert INPUT in first.problems["kafka.topics.observability_events"]["what"]


def test_topics_create_leaves_what_is_there_and_says_what_the_cluster_did_not_make(
    cluster: MockCluster, empty_cluster: MockCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The mock cluster knows no CreateTopics, so that every new one is refused, each by its name."""
    monkeypatch.setattr(topics, "CREATE_TIMEOUT_S", 0.3 * MULTIPLIER)
    for asked, there in ((cluster, set(ALL_TOPICS)), (empty_cluster, {"observability.logs"})):
        text = json.dumps({"kafka": {"brokers": [asked.bootstraps]}})
        done = ingestd("topics", "create", "--json", "-c", config_file(tmp_path, text))
        assert done.code == (1 if there != set(ALL_TOPICS) else 0)
        assert {row["topic"] for row in done.json["existing"]} == there
        assert {row["topic"] for row in done.json["failed"]} == set(ALL_TOPICS) - there
        assert done.json["created"] == []
