"""Tracks which offsets may be stored: an offset waits for the slower sink of every record before it. No I/O, no clock.

A batch is a set of runs, one or more for each partition that it has records of. A run is open until its batch is
finished; a partition's storable offset is the one behind its last finished run with no open run before it.
Every assignment of a partition has a generation: a run of an older one is ignored when its batch finishes.

Non-obvious: batches finish in any order, so what may be stored is what lies before the oldest open run.
Never what lies before the newest finished one: a crash would lose what is open before it.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

Key = tuple[str, int]


class Storable(NamedTuple):
    """What may be stored for one partition: every record before `next_offset` has reached its end."""

    topic: str
    partition: int
    next_offset: int
    leader_epoch: int


class LedgerRun(NamedTuple):
    """A run of records of one partition inside one batch."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    received_count: int
    leader_epoch: int
    timestamp_ms: int = -1


class _Entry:
    """One run of an open batch."""

    __slots__ = ("finished", "generation", "run")

    def __init__(self, run: LedgerRun, generation: int) -> None:
        self.run = run
        self.generation = generation
        self.finished = False


class _Partition:
    """One assigned partition: its open and finished runs, oldest first."""

    __slots__ = ("entries", "floor_offset", "generation", "leader_epoch", "next_offset", "taken_offset", "unfinished")

    def __init__(self, generation: int, next_offset: int | None) -> None:
        self.generation = generation
        self.entries: deque[_Entry] = deque()
        self.next_offset = -1 if next_offset is None else next_offset
        self.taken_offset = self.next_offset  # what take_storable gave last
        self.floor_offset = self.next_offset  # the start, or where `advance` moved it: no record comes from before
        self.leader_epoch = -1
        self.unfinished = 0


class Ledger:
    """Which offsets are finished. Runs on: the loop. `open` and `finish` are called once a batch."""

    def __init__(self) -> None:
        self._partitions: dict[Key, _Partition] = {}
        self._batches: dict[int, list[_Entry]] = {}
        self._changed: set[Key] = set()
        self._generation = 0

    def assign(self, topic: str, partition: int, next_offset: int | None = None) -> int:
        """A new generation of this partition. `next_offset`: where reading begins, None when not known yet."""
        self._generation += 1
        self._partitions[topic, partition] = _Partition(self._generation, next_offset)
        self._changed.discard((topic, partition))
        return self._generation

    def revoke(self, topic: str, partition: int) -> int:
        """Forget the partition; gives the number of its events that had not reached their end."""
        self._changed.discard((topic, partition))
        state = self._partitions.pop((topic, partition), None)
        return state.unfinished if state else 0

    def open(self, batch_id: int, runs: Iterable[LedgerRun]) -> list[LedgerRun]:
        """A batch begins to owe. Gives the runs of partitions that are not assigned: nobody waits for those."""
        assert batch_id not in self._batches
        entries: list[_Entry] = []
        strays: list[LedgerRun] = []
        for run in runs:
            state = self._partitions.get((run.topic, run.partition))
            if state is None:
                entries.append(_Entry(run, -1))
                strays.append(run)
                continue
            # Offsets before it are stored, and nobody waited for their records.
            assert run.first_offset >= state.floor_offset, f"{run} opened behind {state.floor_offset}"
            entry = _Entry(run, state.generation)
            entries.append(entry)
            state.entries.append(entry)
            state.unfinished += run.received_count
        self._batches[batch_id] = entries
        return strays

    def finish(self, batch_id: int) -> list[bool]:
        """A batch owes nothing any more. By run, in the order of `open`: whether its generation still lives."""
        live = []
        for entry in self._batches.pop(batch_id):
            run = entry.run
            key = (run.topic, run.partition)
            state = self._partitions.get(key)
            # Non-obvious: a result that comes after its partition was given back must count for nobody.
            # The same partition may be ours again, in another generation.
            if state is None or state.generation != entry.generation:
                live.append(False)
                continue
            live.append(True)
            entry.finished = True
            state.unfinished -= run.received_count
            entries = state.entries
            while entries and entries[0].finished:
                done = entries.popleft().run
                # Records may come twice in a generation: librdkafka pauses a partition for a rebalance by a position
                # that a take at the same moment has not moved yet. The second time never moves the offset back.
                if done.last_offset >= state.next_offset:
                    state.next_offset = done.last_offset + 1
                    state.leader_epoch = done.leader_epoch
                    self._changed.add(key)
        return live

    def advance(self, topic: str, partition: int, position: int) -> None:
        """The source stands at `position` and nothing is open: markers and compacted records lie behind it."""
        state = self._partitions.get((topic, partition))
        if state is not None and not state.entries and position > state.next_offset:
            state.next_offset = state.floor_offset = position
            self._changed.add((topic, partition))

    def take_storable(self) -> list[Storable]:
        """What has moved since the last call. In a generation the offsets of a partition only rise.

        Non-obvious: librdkafka overwrites a stored offset with a lower one, so the ledger alone keeps offsets rising.
        """
        result = []
        for topic, partition in self._changed:
            state = self._partitions[topic, partition]
            if state.next_offset > state.taken_offset:
                state.taken_offset = state.next_offset
                result.append(Storable(topic, partition, state.next_offset, state.leader_epoch))
        self._changed.clear()
        return result

    def partitions(self) -> list[Key]:
        """All that are assigned."""
        return list(self._partitions)

    def topics(self) -> set[str]:
        """Those of which some partition is assigned."""
        return {topic for topic, _ in self._partitions}

    def idle_partitions(self) -> list[Key]:
        """Those that owe nothing: for these the source's position may be stored."""
        return [key for key, state in self._partitions.items() if not state.entries]

    def unfinished(self, keys: Iterable[Key] | None = None) -> int:
        """Events that have not reached their end, of these partitions or of all."""
        wanted = self._partitions if keys is None else keys
        return sum(self._partitions[key].unfinished for key in wanted if key in self._partitions)

    def generation(self, topic: str, partition: int) -> int:
        """Of this assignment; -1 when it is not assigned."""
        state = self._partitions.get((topic, partition))
        return -1 if state is None else state.generation

    def generations(self, keys: Iterable[Key]) -> dict[Key, int]:
        """Of those that are assigned."""
        return {key: self._partitions[key].generation for key in keys if key in self._partitions}

    def next_offset(self, topic: str, partition: int) -> int:
        """The lowest offset that has not reached its end; -1 when reading has not begun."""
        return self._partitions[topic, partition].next_offset

    def first_unfinished_ms(self, topic: str, partition: int) -> int:
        """The record time of the oldest open run; -1 when nothing is open or it has none."""
        entries = self._partitions[topic, partition].entries
        return entries[0].run.timestamp_ms if entries else -1

    def describe(self) -> dict[str, object]:
        """The state, for the log."""
        return {
            "open_batches": len(self._batches),
            "partitions": {
                f"{topic}-{partition}": {
                    "generation": state.generation,
                    "next_offset": state.next_offset,
                    "open_runs": len(state.entries),
                    "unfinished_events": state.unfinished,
                }
                for (topic, partition), state in self._partitions.items()
            },
        }
