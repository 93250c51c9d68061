"""`ingestd topics create`. In: a config, a cluster that answers as it is told. Out: topics made, and what is said."""

import json
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic

from ingestd.cli import topics
from ingestd.cli.topics import ClusterError, Creation, Duration, wanted_topics
from ingestd.config.loading import parse
from tests.support.command import Done, config_file, ingestd
from tests.support.daemon_process import ALL_TOPICS, DEAD_LETTER, INPUT, TYPED

NEEDED_BYTES = 1_048_576 + 65_536
BROKER_DEFAULT_BYTES = 1_048_588
DAY_MS = 86_400_000


class FakeCluster:
    """Has `there` (name -> partitions); everything that is created is in `asked`."""

    def __init__(self, there: dict[str, int] | None = None) -> None:
        self.there = there or {}
        self.default_bytes: int | None = BROKER_DEFAULT_BYTES
        self.limits: dict[str, int] | None = {}
        self.refused: dict[str, int] = {}
        self.silent = False
        self.asked: list[NewTopic] = []

    def metadata(self) -> Any:
        if self.silent:
            raise ClusterError("connection refused")
        rows = {name: SimpleNamespace(partitions=dict.fromkeys(range(count))) for name, count in self.there.items()}
        return SimpleNamespace(topics=rows, brokers={7: None})

    def message_bytes_default(self, broker_id: int) -> int:
        assert broker_id == 7
        if self.default_bytes is None:
            raise ClusterError("not allowed")
        return self.default_bytes

    def message_bytes_limits(self, names: Iterable[str]) -> dict[str, int]:
        if self.limits is None:
            raise ClusterError("not allowed")
        return {name: self.limits.get(name, 1 << 30) for name in names}

    def create(self, new: Iterable[NewTopic]) -> dict[str, KafkaError | None]:
        self.asked += new
        return {
            topic.topic: KafkaError(self.refused[topic.topic]) if topic.topic in self.refused else None
            for topic in self.asked
        }


def created(cluster: FakeCluster, text: str = "", retention_ms: int | None = None) -> Creation:
    creation = Creation(parse(text), cluster)
    creation.run(6, -1, retention_ms)
    return creation


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    made = FakeCluster()
    monkeypatch.setattr(topics, "Cluster", lambda kafka: made)
    return made


def create(folder: Path, *words: str, config: str = "") -> Done:
    return ingestd("topics", "create", "-c", config_file(folder, config), *words)


# Times


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("90s", 90_000),
        ("30m", 1_800_000),
        ("12h", DAY_MS // 2),
        ("7d", 7 * DAY_MS),
        ("2w", 14 * DAY_MS),
        ("forever", -1),
    ],
)
def test_a_time_is_a_number_and_a_unit(text: str, expected_ms: int) -> None:
    assert Duration().convert(text, None, None) == expected_ms


@pytest.mark.parametrize(
    "text", ["7", "d", "0d", "-1d", "1.5h", "7 d", "7D", "1y", "07d", "7d1h", "", "ever", "9" * 10 + "s"]
)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(click.BadParameter, match="12h"):
        Duration().convert(text, None, None)


def test_the_longest_time_fits_into_kafka_s_number() -> None:
    assert Duration().convert("999999999w", None, None) < 1 << 63


# Which topics, with which settings


def test_inputs_typed_topics_dead_letters_and_topics_of_rules_are_wanted_once_each() -> None:
    text = """
        kafka: {input_topics: [in, '^raw[.]'], index_only_topics: [observability.logs, published]}
        rules:
          - {name: a, action: copy, topics: [copies, observability.logs]}
          - {name: b, action: route, topics: [copies, pages]}
    """
    wanted = wanted_topics(parse(text))
    assert wanted[0] == "in" and len(wanted) == len(set(wanted))
    assert set(wanted) == {"in", "published", *TYPED, DEAD_LETTER, "copies", "pages"}


def test_only_what_is_missing_is_made() -> None:
    cluster = FakeCluster({INPUT: 3, "observability.logs": 12})
    creation = created(cluster)
    assert {topic.topic for topic in cluster.asked} == set(ALL_TOPICS) - {INPUT, "observability.logs"}
    assert {(topic.num_partitions, topic.replication_factor) for topic in cluster.asked} == {(6, -1)}
    rows = {row["topic"]: row["partitions"] for row in creation.existing}
    assert rows == {INPUT: 3, "observability.logs": 12}


def test_a_second_run_makes_nothing() -> None:
    cluster = FakeCluster(dict.fromkeys(ALL_TOPICS, 6))
    creation = created(cluster)
    assert cluster.asked == creation.created == creation.warnings == [] and len(creation.existing) == len(ALL_TOPICS)


@pytest.mark.parametrize(
    ("default_bytes", "expected"),
    [
        (BROKER_DEFAULT_BYTES, {"max.message.bytes": str(NEEDED_BYTES)}),
        (NEEDED_BYTES - 1, {"max.message.bytes": str(NEEDED_BYTES)}),
        (NEEDED_BYTES, {}),
        (None, {"max.message.bytes": str(NEEDED_BYTES)}),  # not told, so Kafka's own default is taken
    ],
)
def test_a_new_topic_takes_the_largest_event_and_is_left_alone_where_it_does(
    default_bytes: int | None, expected: dict[str, str]
) -> None:
    cluster = FakeCluster()
    cluster.default_bytes = default_bytes
    created(cluster)
    assert [topic.config for topic in cluster.asked] == [expected] * len(ALL_TOPICS)


def test_retention_is_set_only_when_it_is_given() -> None:
    cluster = FakeCluster()
    cluster.default_bytes = 1 << 30
    created(cluster, retention_ms=7 * DAY_MS)
    assert cluster.asked[0].config == {"retention.ms": str(7 * DAY_MS)}


def test_a_topic_that_was_there_and_is_too_small_is_a_warning_and_stays_as_it_is() -> None:
    cluster = FakeCluster(dict.fromkeys(ALL_TOPICS, 1))
    cluster.limits = {"observability.logs": 1_000_000}
    creation = created(cluster)
    (warning,) = creation.warnings
    assert warning.startswith("observability.logs: ") and f"max.message.bytes={NEEDED_BYTES}" in warning
    assert cluster.asked == []


def test_limits_that_are_not_told_are_a_warning() -> None:
    cluster = FakeCluster({INPUT: 1})
    cluster.limits = None
    (warning,) = created(cluster).warnings
    assert "can't be read: not allowed" in warning


def test_a_topic_that_another_one_made_meanwhile_is_no_failure() -> None:
    cluster = FakeCluster()
    cluster.refused = {INPUT: KafkaError.TOPIC_ALREADY_EXISTS}
    creation = created(cluster)
    assert creation.failed == [] and [row["topic"] for row in creation.existing] == [INPUT]
    assert len(creation.created) == len(ALL_TOPICS) - 1


# The command


def test_words_of_the_command_line_reach_the_new_topics(cluster: FakeCluster, tmp_path: Path) -> None:
    words = ("--partitions", "3", "--replication-factor", "2", "--retention", "12h", "--json")
    done = create(tmp_path, *words)
    assert done.code == 0
    assert {(topic.num_partitions, topic.replication_factor) for topic in cluster.asked} == {(3, 2)}
    settings = {"retention.ms": str(DAY_MS // 2), "max.message.bytes": str(NEEDED_BYTES)}
    assert done.json == {
        "created": [{"topic": name, "partitions": 3, "config": settings} for name in wanted_topics(parse(""))],
        "existing": [],
        "failed": [],
        "warnings": [],
    }


def test_a_topic_that_is_refused_is_named_with_the_reason_and_exits_1(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.refused = {DEAD_LETTER: KafkaError.TOPIC_AUTHORIZATION_FAILED}
    done = create(tmp_path)
    assert done.code == 1
    lines = done.out.splitlines()
    assert any(line.startswith(f"failed   {DEAD_LETTER}: TOPIC_AUTHORIZATION_FAILED: ") for line in lines)
    assert f"created  {INPUT}: 6 partitions, max.message.bytes {NEEDED_BYTES}" in lines
    assert json.loads(create(tmp_path, "--json").out)["failed"][0]["topic"] == DEAD_LETTER


def test_a_cluster_that_does_not_answer_exits_1_with_its_reason(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.silent = True
    done = create(tmp_path)
    assert (done.code, done.out) == (1, "")
    assert done.err == "ingestd: no broker of kafka.brokers answers: connection refused\n"


def test_a_bad_config_exits_78_and_makes_nothing(cluster: FakeCluster, tmp_path: Path) -> None:
    done = create(tmp_path, config="kafka: {input_topics: [observability.logs]}")
    assert done.code == 78 and cluster.asked == []


@pytest.mark.parametrize("words", [("--partitions", "0"), ("--replication-factor", "0"), ("--retention", "soon")])
def test_a_number_or_time_that_is_none_exits_2(cluster: FakeCluster, tmp_path: Path, words: tuple[str, ...]) -> None:
    done = create(tmp_path, *words)
    assert done.code == 2 and words[0] in done.err and cluster.asked == []


class NoAnswer(Future):
    """What became of a request that nobody answered in time."""

    def result(self, timeout: float | None = None) -> Any:
        raise TimeoutError


class SilentAdmin:
    """An admin client whose futures run out of time."""

    def describe_configs(self, resources: list[Any], **_: Any) -> dict[Any, Future]:
        return {resource: NoAnswer() for resource in resources}

    def list_consumer_group_offsets(self, groups: list[Any], **_: Any) -> dict[str, Future]:
        return {group: NoAnswer() for group in groups}

    def create_topics(self, new: list[NewTopic], **_: Any) -> dict[str, Future]:
        return {topic.topic: NoAnswer() for topic in new}


def test_an_answer_that_does_not_come_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "AdminClient", lambda options: SilentAdmin())
    cluster = topics.Cluster(parse("").kafka)
    for ask in (lambda: cluster.message_bytes_default(1), lambda: cluster.committed("group")):
        with pytest.raises(ClusterError, match="no answer in time"):
            ask()
    (error,) = cluster.create([NewTopic("t", 1, 1)]).values()
    assert error is not None and error.code() == KafkaError._TIMED_OUT


def test_what_a_client_raised_is_one_line_whatever_it_carries() -> None:
    told = [KafkaException(KafkaError(KafkaError._TIMED_OUT)), KafkaException("worded otherwise"), TimeoutError()]
    assert [topics.no_answer(error) for error in told] == [
        KafkaError(KafkaError._TIMED_OUT).str(),
        "worded otherwise",
        "no answer in time",
    ]
