"""Times of records: which are asked for, and when. A reader that says what it is told to."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from ingestd.observers.record_times import (
    AGAIN_S,
    MOVES_S,
    NO_TIME,
    READ_PARTITIONS_MAX,
    REST_S,
    STANDS_S,
    Place,
    RecordTimes,
)
from ingestd.pipeline.ledger import Key
from tests.support.harness import until

A0, A1 = ("a", 0), ("a", 1)


class World:
    """`times` is the record times that a look finds; `asked_for` is what was looked for."""

    def __init__(self) -> None:
        self.clock_s = 1000.0
        self.times: dict[tuple[Key, int], int] = {}
        self.asked_for: list[dict[Key, int]] = []
        self.awake = False
        self.gave_up = False
        self.record_times = RecordTimes(self, lambda: self.clock_s)

    def times_ms(self, offsets: Mapping[Key, int]) -> dict[Key, int]:
        self.awake = True
        self.asked_for.append(dict(offsets))
        return {key: self.times[key, offset] for key, offset in offsets.items() if (key, offset) in self.times}

    def rest(self) -> None:
        self.awake = False

    def give_up(self) -> None:
        self.gave_up = True

    async def find(self, **wanted: tuple[int, int]) -> dict[Key, int]:
        """`a0=(generation, offset)`: what is known when a look that this began has ended."""
        places = {(name[0], int(name[1:])): Place(*place) for name, place in wanted.items()}
        self.record_times.find(places)
        await until(lambda: self.record_times._aside is None, "the look ends")
        return self.record_times.find(places)


def run(work: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        await work(World())

    asyncio.run(asyncio.wait_for(whole(), 30))


def test_a_place_is_looked_at_once_and_remembered():
    async def work(world: World) -> None:
        world.times = {(A0, 5): 500, (A1, 7): 700}
        assert await world.find(a0=(1, 5), a1=(2, 7)) == {A0: 500, A1: 700}
        world.clock_s += 10 * AGAIN_S
        assert await world.find(a0=(1, 5), a1=(2, 7)) == {A0: 500, A1: 700}
        assert world.asked_for == [{A0: 5, A1: 7}]

    run(work)


def test_a_partition_that_goes_on_is_looked_at_only_where_it_stands_and_seldom():
    async def work(world: World) -> None:
        await world.find(a0=(1, 5))
        world.clock_s += MOVES_S
        await world.find(a0=(1, 6))
        world.clock_s += STANDS_S / 2
        await world.find(a0=(1, 7))
        assert world.asked_for == [{A0: 5}]
        world.clock_s += 1.1 * STANDS_S
        await world.find(a0=(1, 7))
        world.clock_s += 1.1 * STANDS_S
        await world.find(a0=(1, 8))
        world.clock_s += 1.1 * STANDS_S
        await world.find(a0=(1, 8))
        assert world.asked_for == [{A0: 5}, {A0: 7}], "the next not before it has rested"

    run(work)


def test_what_nobody_told_is_asked_again_much_later():
    async def work(world: World) -> None:
        assert await world.find(a0=(1, 5)) == {}
        world.clock_s += AGAIN_S / 2
        assert await world.find(a0=(1, 5)) == {}
        assert len(world.asked_for) == 1
        world.clock_s += AGAIN_S / 2
        world.times[A0, 5] = 500
        assert await world.find(a0=(1, 5)) == {A0: 500}

    run(work)


def test_a_record_that_has_no_time_is_not_asked_for_again():
    async def work(world: World) -> None:
        world.times[A0, 5] = NO_TIME
        assert await world.find(a0=(1, 5)) == {}
        world.clock_s += 2 * AGAIN_S
        assert await world.find(a0=(1, 5)) == {}
        assert len(world.asked_for) == 1

    run(work)


def test_one_look_has_so_many_partitions_at_most_and_the_next_has_the_others():
    async def work(world: World) -> None:
        wanted = {f"a{number}": (1, 5) for number in range(READ_PARTITIONS_MAX + 3)}
        await world.find(**wanted)
        await world.find(**wanted)
        assert [len(offsets) for offsets in world.asked_for] == [READ_PARTITIONS_MAX, 3]

    run(work)


def test_nothing_is_kept_of_what_nobody_wants():
    async def work(world: World) -> None:
        world.times[A0, 5] = 500
        await world.find(a0=(1, 5))
        await world.find()
        times = world.record_times
        assert times._known == times._since == {}
        world.clock_s += 3 * AGAIN_S
        await world.find()
        assert times._asked == {}

    run(work)


def test_the_consumer_rests_when_nobody_asks():
    async def work(world: World) -> None:
        world.times[A0, 5] = 500
        await world.find(a0=(1, 5))
        assert world.awake
        world.clock_s += REST_S
        await world.find(a0=(1, 5))
        assert not world.awake

    run(work)


def test_after_a_stop_nothing_is_looked_at():
    async def work(world: World) -> None:
        world.record_times.stop()
        assert world.record_times.find({A0: Place(1, 5)}) == {}
        world.record_times.join()
        assert world.gave_up and world.asked_for == [] and not world.awake

    run(work)
