"""Runs a consumer's steps in the calling thread: the base of `Consumer`, and of the one in `compat`."""

import time
from collections.abc import Callable, Generator, Sequence
from typing import Generic, TypeVar, Unpack

from ..closing import Closing
from .consume_loop import Call, ConsumeLoop, Offer, Pause
from .decoding import Decoder
from .group_member import GroupMember
from .options import SLICE_S, ConsumerOptions, ConsumerSettings

T = TypeVar("T")


class BlockingConsumer(Closing, Generic[T]):
    """A consumer whose handlers run in the calling thread.

    Runs on: one thread at a time, but for `stop` and `close`.
    """

    def __init__(
        self,
        brokers: str | Sequence[str],
        topic: str | Sequence[str],
        group_id: str,
        **options: Unpack[ConsumerOptions],
    ) -> None:
        self._settings = ConsumerSettings(**options)
        self._member = GroupMember(brokers, topic, group_id, self._settings)
        self._loop: ConsumeLoop[T] = ConsumeLoop(self._member, self._is_stopping)
        # A plain flag: a lock could be held by the very code that a signal interrupts.
        self._stopping = False

    @property
    def missed_count(self) -> int:
        """Records that were deleted from Kafka before this consumer could read them. Each time is a warning, too."""
        return self._member.missed_count

    def stop(self) -> None:
        """End what runs, after the handler in hand. For good: a stopped consumer is only closed.

        Runs on: any thread, and in a signal handler.
        """
        self._stopping = True

    def close(self) -> None:
        """Commit what is done and leave the group; waits `close_timeout_s` at most. Runs on: any thread."""
        self._stopping = True
        self._member.close()

    def _is_stopping(self) -> bool:
        return self._stopping or self._member.closed

    def _consume(self, decoder: Decoder[T], handler: Callable[[T], object]) -> None:
        """Until `stop`. What is no failure of an event, Ctrl-C too, closes the consumer and goes on up."""
        steps = self._loop.steps(decoder)
        try:
            for step in steps:
                if isinstance(step, Offer):
                    try:
                        handler(step.content)
                    except self._settings.retry_on as error:
                        step.failure = error
                else:
                    self._do(step)
        except BaseException:
            steps.close()
            self.close()
            raise

    def _contents(self, decoder: Decoder[T]) -> Generator[T, None, None]:
        """What the handler would get, one by one. Going on means that it is done."""
        steps = self._loop.steps(decoder)
        try:
            for step in steps:
                if isinstance(step, Offer):
                    yield step.content
                else:
                    self._do(step)
        finally:
            steps.close()

    def _do(self, step: Call | Pause) -> None:
        if isinstance(step, Call):
            step.work()
            return
        end_s = time.monotonic() + step.seconds
        while (left_s := end_s - time.monotonic()) > 0 and not self._is_stopping():
            time.sleep(min(SLICE_S, left_s))
