"""The ledger against a model that remembers every single offset: assign, open, finish in any order, revoke."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ingestd.pipeline.ledger import Ledger, LedgerRun

PARTITIONS = st.integers(0, 2)


class LedgerMachine(RuleBasedStateMachine):
    """`done[p]` are the offsets of partition p that have ended in its present generation."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.begin: dict[int, int] = {}
        self.next: dict[int, int] = {0: 0, 1: 0, 2: 0}
        self.generation: dict[int, int] = {}
        self.done: dict[int, set[int]] = {}
        self.stored: dict[int, int] = {}
        self.open: dict[int, list[tuple[int, int, int, int]]] = {}
        self.number = 0
        self.opened = self.finished = self.abandoned = 0

    @rule(partition=PARTITIONS)
    def assign(self, partition: int) -> None:
        if partition in self.generation:
            return
        # A new owner begins where the last one stored.
        start = self.next[partition] = max(self.stored.get(partition, 0), 0)
        self.generation[partition] = self.ledger.assign("in", partition, start)
        self.begin[partition], self.done[partition] = start, set()

    @precondition(lambda self: self.generation)
    @rule(data=st.data(), counts=st.lists(st.integers(1, 4), min_size=1, max_size=3), gap=st.integers(0, 2))
    def take(self, data: st.DataObject, counts: list[int], gap: int) -> None:
        chosen = data.draw(
            st.lists(st.sampled_from(sorted(self.generation)), min_size=1, max_size=len(counts), unique=True)
        )
        runs, kept = [], []
        for partition, count in zip(chosen, counts, strict=False):
            first = self.next[partition] + gap
            self.done[partition] |= set(range(self.next[partition], first))  # a gap: compacted, never to come
            self.next[partition] = first + count
            runs.append(LedgerRun("in", partition, first, first + count - 1, count, 0))
            kept.append((partition, self.generation[partition], first, count))
        self.number += 1
        assert self.ledger.open(self.number, runs) == []
        self.open[self.number] = kept
        self.opened += sum(count for *_, count in kept)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.open)))
        live = self.ledger.finish(number)
        for (partition, generation, first, count), lives in zip(self.open.pop(number), live, strict=True):
            assert lives == (self.generation.get(partition) == generation)
            if lives:
                self.done[partition] |= set(range(first, first + count))
                self.finished += count

    @precondition(lambda self: self.generation)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        self.store()
        partition = data.draw(st.sampled_from(sorted(self.generation)))
        owed = sum(
            count
            for kept in self.open.values()
            for p, g, _, count in kept
            if p == partition and g == self.generation[partition]
        )
        assert self.ledger.revoke("in", partition) == owed
        self.abandoned += owed
        del self.generation[partition], self.done[partition]

    @rule()
    def store(self) -> None:
        for row in self.ledger.take_storable():
            missing = set(range(self.begin[row.partition], row.next_offset)) - self.done[row.partition]
            assert not missing, f"offset {row.next_offset} is storable, but {sorted(missing)} have not ended"
            assert row.next_offset > self.stored.get(row.partition, -1), "it went back"
            self.stored[row.partition] = row.next_offset

    @invariant()
    def every_event_is_open_finished_or_abandoned(self) -> None:
        assert self.opened == self.finished + self.abandoned + self.ledger.unfinished()


LedgerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_no_offset_is_storable_before_everything_in_front_of_it_has_ended = LedgerMachine.TestCase
