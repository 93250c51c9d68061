"""The ids of topics: which topic counts as recreated, and which id a commit carries."""

import asyncio
import logging
from collections.abc import Sequence

from ingestd._librdkafka import TopicDescription
from ingestd.errors import KafkaFailure
from ingestd.pipeline.ledger import Ledger
from ingestd.pipeline.start_offsets import Start
from ingestd.pipeline.topic_ids import Recreated, TopicIds
from tests.support.runtime import runtime_for_tests

A0, A1, B0 = ("a", 0), ("a", 1), ("b", 0)


class Cluster:
    """Says of topics what it was told to; None: it does not answer."""

    def __init__(self, **ids: str) -> None:
        self.ids: dict[str, str] | None = ids
        self.asked: list[list[str]] = []

    async def describe_topics(self, topics: Sequence[str], timeout_ms: int) -> dict[str, TopicDescription]:
        self.asked.append(list(topics))
        if self.ids is None:
            raise KafkaFailure(-185, "_TIMED_OUT", "made by the test")
        return {topic: TopicDescription(self.ids.get(topic, ""), 2, 0 if topic in self.ids else 3) for topic in topics}


def make(cluster: Cluster, ledger: Ledger) -> TopicIds:
    runtime = runtime_for_tests(logging.getLogger("test.topic_ids"))
    return TopicIds(queries=cluster, ledger=ledger, runtime=runtime)  # type: ignore[arg-type]


def test_a_topic_is_recreated_when_its_id_is_another_than_before() -> None:
    async def work() -> None:
        cluster, ledger = Cluster(a="1", b="9"), Ledger()
        generations = {key: ledger.assign(*key, 0) for key in (A0, A1, B0)}
        ids = make(cluster, ledger)
        assert await ids.find_recreated({"b", "a"}) == [] and cluster.asked == [["a", "b"]]
        cluster.ids = {"a": "2", "b": "9"}
        (found,) = await ids.find_recreated({"a", "b"})
        assert found == Recreated("2", {A0: generations[A0], A1: generations[A1]})
        assert ids.commit_metadata("a") == b"topic_id=1", "the old log is read until the partitions are assigned again"
        ids.replace(["a"], "2")
        assert ids.commit_metadata("a") == b"topic_id=2" and await ids.find_recreated({"a", "b"}) == []

    asyncio.run(work())


def test_neither_a_deleted_topic_nor_one_that_was_given_back_is_recreated() -> None:
    async def work() -> None:
        cluster, ledger = Cluster(a="1", b="9"), Ledger()
        ledger.assign(*A0, 0)
        ledger.assign(*B0, 0)
        ids = make(cluster, ledger)
        await ids.find_recreated({"a", "b"})
        ledger.revoke(*B0)
        cluster.ids = {"b": "10"}
        assert await ids.find_recreated({"a", "b"}) == []
        ids.forget_unassigned()
        assert ids.known == {"a": "1"} and ids.commit_metadata("b") == b""

    asyncio.run(work())


def test_a_cluster_that_does_not_answer_changes_nothing() -> None:
    async def work() -> None:
        cluster, ledger = Cluster(a="1"), Ledger()
        ledger.assign(*A0, 0)
        ids = make(cluster, ledger)
        await ids.find_recreated({"a"})
        cluster.ids = None
        assert await ids.find_recreated({"a"}) == [] and ids.known == {"a": "1"}

    asyncio.run(work())


def test_a_commit_under_another_id_is_not_believed_and_one_without_an_id_is() -> None:
    async def work() -> None:
        ids = make(Cluster(), Ledger())
        ids.replace(["a"], "2")
        starts = {A0: Start(7, True, "1"), A1: Start(7, True), B0: Start(7, True, "1")}
        assert ids.recreated_since_commit(starts) == [A0], "of b no id is known"

    asyncio.run(work())
