"""Notices a topic that was deleted and created again, by its id.

Non-obvious: a recreated topic can make every old offset valid, so only its id says that the log is another.
The position that was committed in the old log may lie inside the new one, and reading on from it would skip what is
before. So a commit carries the id of its topic as metadata, which is compared after an assignment, and the ids of
assigned topics are asked for again and again.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..errors import KafkaFailure
from ..telemetry.runtime import Runtime
from .cluster_queries import ClusterQueries
from .ledger import Key, Ledger
from .start_offsets import TOPIC_ID_METADATA, Start

# Ids only guard against a recreated topic; a cluster that does not answer must not delay a stop.
TOPIC_ID_TIMEOUT_MS = 1500
TOPIC_ID_INTERVAL_S = 10.0


class Recreated(NamedTuple):
    """A topic with another id than before, and which assignments of its partitions stand in the old log."""

    topic_id: str
    generations: dict[Key, int]


class TopicIds:
    """The ids of the topics that are read. Runs on: the loop."""

    def __init__(self, *, queries: ClusterQueries, ledger: Ledger, runtime: Runtime) -> None:
        self._queries = queries
        self._ledger = ledger
        self._limited_log = runtime.limited_log
        self.known: dict[str, str] = {}

    def commit_metadata(self, topic: str) -> bytes:
        """What a commit of this topic carries; empty while its id is not known."""
        topic_id = self.known.get(topic)
        return TOPIC_ID_METADATA + topic_id.encode() if topic_id else b""

    def replace(self, topics: Iterable[str], topic_id: str) -> None:
        """These are read from the new log now.

        Non-obvious: the new id is taken over only when the partitions are assigned at the start of the new log.
        A commit of the old log that carried the id of the new one would be believed at the next start.
        """
        self.known |= dict.fromkeys(topics, topic_id)

    def forget_unassigned(self) -> None:
        """While others read a topic it may be recreated: the next assignment learns its id from its commit."""
        for topic in self.known.keys() - self._ledger.topics():
            del self.known[topic]

    async def find_recreated(self, topics: Iterable[str]) -> list[Recreated]:
        """Ask the cluster; remembers ids that were not known, and gives the topics whose id is another than before."""
        wanted = sorted(topics)
        if not wanted:
            return []
        try:
            described = await self._queries.describe_topics(wanted, TOPIC_ID_TIMEOUT_MS)
        except KafkaFailure as error:
            self._limited_log.say(logging.DEBUG, "cannot read topic ids", error.name, error=error.name)
            return []
        found = []
        for name, topic in described.items():
            generations = self._ledger.generations(key for key in self._ledger.partitions() if key[0] == name)
            if topic.error or not topic.topic_id or not generations:
                continue  # a deleted topic is no recreated one, and one that was given back is another's
            if self.known.setdefault(name, topic.topic_id) != topic.topic_id:
                found.append(Recreated(topic.topic_id, generations))
        return found

    def recreated_since_commit(self, starts: Mapping[Key, Start]) -> list[Key]:
        """Partitions whose commit was made under another id: their topics were recreated while nobody read them."""
        return [
            key
            for key, start in starts.items()
            if start.topic_id and start.topic_id != self.known.get(key[0], start.topic_id)
        ]
