"""Futures that a delivery report finishes: all that `concurrent.futures` promises, and nothing lost between threads."""

import asyncio
import threading
from concurrent.futures import FIRST_COMPLETED, TimeoutError, as_completed, wait

import pytest

from ingestd.client.producing.delivery import (
    BatchFailed,
    BatchFuture,
    BatchReports,
    Delivery,
    DeliveryFailed,
    DeliveryFuture,
    Origin,
)

MSG_TIMED_OUT, TOPIC_AUTHORIZATION_FAILED = -192, 29


class Reports:
    """Failures that were said."""

    def __init__(self) -> None:
        self.failures: list = []
        self.origin = Origin("t", self.failures.append)


@pytest.fixture
def reports() -> Reports:
    return Reports()


def test_a_future_that_was_finished_before_anybody_asked(reports: Reports):
    future = DeliveryFuture("e", reports.origin)
    assert future.running() and not future.done() and not future.cancel()
    future.delivered(1, 7, 1)
    assert future.done() and not future.running() and not future.cancelled()
    assert future.result() == future.result(0) == Delivery("e", "t", 1, 7)
    assert future.exception() is None


def test_who_waits_is_woken(reports: Reports):
    future = DeliveryFuture("e", reports.origin)
    with pytest.raises(TimeoutError):
        future.result(0.01)
    threading.Timer(0.05, future.delivered, (1, 7, 1)).start()
    assert future.result(10).offset == 7


def test_an_error_is_raised_and_said(reports: Reports):
    future = DeliveryFuture("e7", reports.origin)
    future.failed(MSG_TIMED_OUT, b"{}")
    with pytest.raises(DeliveryFailed, match="event e7 was not delivered: _MSG_TIMED_OUT") as caught:
        future.result()
    assert (caught.value.code, caught.value.name, caught.value.maybe_delivered) == (-192, "_MSG_TIMED_OUT", True)
    assert future.exception() is caught.value and reports.failures == [caught.value]


def test_callbacks_before_and_after(reports: Reports):
    future, seen = DeliveryFuture("e", reports.origin), []
    future.add_done_callback(lambda found: seen.append(("before", found.result())))
    future.delivered(1, 7, 1)
    future.add_done_callback(lambda found: seen.append(("after", found.result())))
    assert [name for name, _ in seen] == ["before", "after"]


def test_wait_and_as_completed(reports: Reports):
    futures = [DeliveryFuture(str(number), reports.origin) for number in range(4)]
    futures[0].delivered(1, 7, 1)
    assert wait(futures, 10, FIRST_COMPLETED).done == {futures[0]}
    threads = [threading.Timer(0.02 * n, future.delivered, (1, 7, 1)) for n, future in enumerate(futures[1:])]
    for thread in threads:
        thread.start()
    assert {future.result().event_id for future in as_completed(futures, 10)} == {"0", "1", "2", "3"}


def test_asyncio_can_await_it(reports: Reports):
    async def work() -> Delivery:
        future = DeliveryFuture("e", reports.origin)
        threading.Timer(0.02, future.delivered, (1, 7, 1)).start()
        return await asyncio.wait_for(asyncio.wrap_future(future), 10)

    assert asyncio.run(work()).event_id == "e"


def test_no_wake_up_is_lost_between_who_waits_and_who_finishes(reports: Reports):
    for _ in range(2000):
        future, go = DeliveryFuture("e", reports.origin), threading.Barrier(2)

        def finish(future=future, go=go) -> None:
            go.wait()
            future.delivered(1, 7, 1)

        thread = threading.Thread(target=finish)
        thread.start()
        go.wait()
        assert future.result(10).offset == 7
        thread.join()


def test_after_a_fork_a_future_of_the_parent_says_so(reports: Reports):
    done, pending = DeliveryFuture("d", reports.origin), DeliveryFuture("p", reports.origin)
    done.delivered(1, 7, 1)
    reports.origin.inherited = True
    assert done.result(1).event_id == "d"
    with pytest.raises(DeliveryFailed, match="before a fork"):
        pending.result()
    assert isinstance(pending.exception(), DeliveryFailed)
    with pytest.raises(DeliveryFailed, match="before a fork"):
        BatchFuture(reports.origin).result()


@pytest.mark.parametrize("seal_after", [0, 3, 5])
def test_a_batch_is_done_once_when_all_reports_and_the_seal_are_there(reports: Reports, seal_after: int):
    future = BatchFuture(reports.origin)
    batch = BatchReports(reports.origin, None, future.finish)
    for number in range(6):
        if number == seal_after:
            batch.seal(5)
        if number < 5:
            assert not future.done() or seal_after == 5
            batch.delivered(1, 7, 1)
    assert future.result(0) == 5


def test_a_batch_names_what_failed(reports: Reports):
    future = BatchFuture(reports.origin)
    batch = BatchReports(reports.origin, None, future.finish)
    batch.delivered(1, 7, 1)
    batch.failed(TOPIC_AUTHORIZATION_FAILED, b'{"id":"x"}')
    batch.seal(2)
    with pytest.raises(BatchFailed, match="1 of 2 events were not delivered; the first: the event was") as caught:
        future.result(0)
    assert [failed.value for failed in caught.value.failed] == [b'{"id":"x"}']
    assert len(reports.failures) == 1


def test_an_empty_batch_is_done_at_once(reports: Reports):
    future = BatchFuture(reports.origin)
    BatchReports(reports.origin, None, future.finish).seal(0)
    assert future.result(0) == 0
