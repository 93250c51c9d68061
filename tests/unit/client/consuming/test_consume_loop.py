"""A consumer's steps, without Kafka and without waiting: what is offered, tried again, dead-lettered and stored."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ingestd.client.consuming.consume_loop import Call, ConsumeLoop, Offer, Pause, Reject
from ingestd.client.consuming.dead_letters import DeadLetter, DeadLetterFailed
from ingestd.client.consuming.options import ConsumerSettings


class FakeMember:
    """Takes the batches that it is given; publishes dead letters where `refused` says nothing against it."""

    def __init__(self, batches: Sequence[str], **options: Any) -> None:
        self.settings = ConsumerSettings(**options)
        self.joined = True
        self.left: deque[Any] = deque()
        self.ended: list[str] = []
        self.stored: list[str] = []
        self.letters: list[tuple[Any, str, str]] = []
        self.refused: list[str] = []
        self._batches = list(batches)

    def fetch(self) -> None:
        if not self.left and self._batches:
            self.left.extend(self._batches.pop(0))

    def end_first(self) -> None:
        self.ended.append(self.left.popleft())

    def store(self) -> None:
        self.stored = list(self.ended)

    def pace(self, records: int, seconds: float) -> None:
        pass

    def without_published(self, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        return [letter for letter in letters if letter.message not in {message for message, _, _ in self.letters}]

    def publish_dead_letters(self, letters: Sequence[DeadLetter], deadline_s: float) -> str:
        if self.refused:
            return self.refused.pop(0)
        self.letters += [(letter.message, letter.fault, letter.reason) for letter in letters]
        return ""


class Letters:
    """A small letter is an event; any other character is no event."""

    def decode(self, messages: Sequence[Any]) -> list[Any]:
        return [message if message.islower() else DeadLetter(message, "decode", "bad", "") for message in messages]


def drive(member: FakeMember, handler: Callable[[str], object], stop_at: type | None = None) -> list[Any]:
    """All steps, until the batches are used up or a step of `stop_at` was done. Gives what was offered and paused."""
    done: list[Any] = []
    stops: list[object] = []
    for step in ConsumeLoop(member, lambda: bool(stops)).steps(Letters()):  # type: ignore[arg-type]
        if isinstance(step, Call):
            step.work()
        elif isinstance(step, Pause):
            done.append("pause")
        else:
            done.append(step.content)
            try:
                handler(step.content)
            except Exception as error:
                step.failure = error
        if stop_at is not None and isinstance(step, stop_at):
            stops.append(step)
    return done


def run_out(batches: Sequence[str], handler: Callable[[str], object] = str, **options: Any) -> tuple[Any, FakeMember]:
    member = FakeMember(batches, idle_stop_s=0, **options)
    return drive(member, handler), member


def test_each_event_is_offered_once_and_stored_when_it_is_done():
    done, member = run_out(["ab", "c"])
    assert done == ["a", "b", "c"] and member.stored == ["a", "b", "c"]


def test_a_failed_event_is_offered_again_after_a_pause():
    failures = [ValueError("x"), ValueError("y")]

    def handler(content: str) -> None:
        if content == "a" and failures:
            raise failures.pop()

    done, member = run_out(["ab"], handler)
    assert done == ["a", "pause", "a", "pause", "a", "b"] and member.letters == []


def test_the_last_failure_makes_a_dead_letter_and_the_next_event_has_its_turn():
    def handler(content: str) -> None:
        if content == "a":
            raise ValueError("no")

    done, member = run_out(["ab"], handler, retries=1)
    assert done == ["a", "pause", "a", "b"]
    assert member.letters == [("a", "ValueError", "no")] and member.stored == ["a", "b"]


def test_a_rejected_event_is_not_tried_again():
    def handler(content: str) -> None:
        raise Reject("not mine")

    done, member = run_out(["a"], handler)
    assert done == ["a"] and member.letters == [("a", "Reject", "not mine")]


def test_what_is_no_event_is_a_dead_letter_before_the_batch_is_offered():
    done, member = run_out(["aX"])
    assert done == ["a"] and member.letters == [("X", "bad", "")] and member.stored == ["a", "X"]


def test_a_stop_while_a_try_is_waited_for_leaves_the_event_for_the_next_call():
    member = FakeMember(["ab"])

    def handler(content: str) -> None:
        raise ValueError("no")

    assert drive(member, handler, stop_at=Pause) == ["a", "pause"]
    assert member.stored == [] and list(member.left) == ["a", "b"] and member.letters == []


def test_a_stop_in_a_handler_lets_that_event_end():
    member = FakeMember(["ab"])
    assert drive(member, str, stop_at=Offer) == ["a"]
    assert member.stored == ["a"] and list(member.left) == ["b"]


def test_dead_letters_that_kafka_refuses_are_published_again_after_a_pause():
    member = FakeMember(["X"], idle_stop_s=0)
    member.refused = ["not now", "not now"]
    assert drive(member, str) == ["pause", "pause"]
    assert member.letters == [("X", "bad", "")] and member.stored == ["X"]


def test_dead_letters_that_kafka_refuses_for_too_long_end_the_consumer_with_nothing_stored():
    member = FakeMember(["aX"], dead_letter_timeout_s=0)
    member.refused = ["not now"] * 9
    with pytest.raises(DeadLetterFailed, match=r"1 dead letters for observability\.dead_letter .*: not now"):
        drive(member, str)
    assert member.stored == [] and list(member.left) == ["a", "X"]


def test_steps_that_are_left_early_store_what_has_ended_and_keep_the_event_in_hand():
    member = FakeMember(["ab"])
    steps = ConsumeLoop(member, lambda: False).steps(Letters())  # type: ignore[arg-type]
    offers = []
    for step in steps:
        if isinstance(step, Call):
            step.work()
        else:
            offers.append(step)
            if len(offers) == 2:
                break
    steps.close()
    assert member.stored == ["a"] and list(member.left) == ["b"]
