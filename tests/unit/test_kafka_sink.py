"""The Kafka sink with a producer that reaches nobody: what waits is bounded, and its end harms nobody."""

import asyncio
import json
import logging
from collections.abc import Callable
from random import Random

import uvloop

from ingestd import kafka_options
from ingestd._fastpath import Batch, IndexCache, RouteTable, process_batch
from ingestd._librdkafka import Producer
from ingestd.config import Config, KafkaConfig
from ingestd.metrics import Counters
from ingestd.model import EventType
from ingestd.rules import table_arguments
from ingestd.sinks.kafka import OWN_WAITING_MAX, KafkaSink
from tests.support.ports import free_ports


def make_sink(on_done: Callable[[Batch], None]) -> KafkaSink:
    (port,) = free_ports(1)
    config = Config(kafka=KafkaConfig(brokers=(f"127.0.0.1:{port}",)))
    options = kafka_options.producer_options(config, "test") | {"log_level": "0"}
    log = logging.getLogger("ingestd.test")
    return KafkaSink(
        lambda alone: Producer(options, ["t"] * 6, [("", "", "")] * 12, "host"),
        on_done,
        Counters(),
        lambda notice: None,
        log,
        Random(1),
    )


def make_batch(batch_id: int) -> Batch:
    batch = Batch(1)
    event = {"id": "e", "type": "log", "level": "info"}
    batch.load([(json.dumps(event).encode(), 0, "in", 0, 0, 0, None, False)])
    process_batch(batch, RouteTable((), **table_arguments(Config())), IndexCache(), 0)
    batch.batch_id = batch_id
    return batch


async def destroyed(sink: KafkaSink) -> None:
    for handle in sink.close():
        handle.purge()
        handle.serve()
        await asyncio.to_thread(handle.destroy)


def test_the_daemon_s_own_records_do_not_pile_up_while_kafka_is_away():
    async def work() -> None:
        sink = make_sink(lambda batch: None)
        accepted = [sink.send_own(EventType.HEALTH, b"{}") for _ in range(2 * OWN_WAITING_MAX)]
        assert accepted == [True] * OWN_WAITING_MAX + [False] * OWN_WAITING_MAX
        await destroyed(sink)

    uvloop.run(work())


def test_what_comes_late_finds_no_producer_and_harms_nobody():
    async def work() -> None:
        done: list[Batch] = []
        sink = make_sink(done.append)
        batch = make_batch(1)
        sink._open[1] = batch  # as after a refusal: it waits for its time
        await destroyed(sink)
        sink._send_again(batch, 1)
        sink._enqueue_alone(batch, 1)
        sink.submit(make_batch(2))
        assert done == [] and batch.sends_waiting

    uvloop.run(work())


def test_a_batch_that_the_full_producer_holds_is_queued_once():
    async def work() -> None:
        sink = make_sink(lambda batch: None)
        first, second = make_batch(1), make_batch(2)
        sink._open |= {1: first, 2: second}
        sink._queue.extend((first, second))
        sink._send_again(second, 2)  # its back-off ends while it waits in the queue
        assert list(sink._queue) == [first, second]
        sink._queue.clear()
        await destroyed(sink)

    uvloop.run(work())


def test_a_batch_without_anything_to_send_is_done_when_the_producer_was_renewed():
    async def work() -> None:
        done: list[Batch] = []
        sink = make_sink(done.append)
        batch = make_batch(1)
        batch.mark_dead(0)  # Kafka refused it before Redis did: there is no other dead letter
        sink._recover()
        sink._open[1] = batch
        batch_of_nothing = Batch(1)
        batch_of_nothing.batch_id = 2
        sink._open[2] = batch_of_nothing
        sink._renew()
        assert done == [batch_of_nothing]
        await destroyed(sink)

    uvloop.run(work())
