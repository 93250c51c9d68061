"""Puts events of bench/events.py on the input topic. Numbers in; records on Kafka, and what was made, out."""

import threading
import time

from confluent_kafka import Producer

from bench.events import Made, make
from tests.support.daemon_process import INPUT


def feed(bootstrap: str, first: int, count: int, topic: str = INPUT, partitions: int = 4) -> list[Made]:
    """Events `first` up to `first + count`, acknowledged."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "acks": "all",
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
            "log_level": 0,
        }
    )
    refused: list[object] = []

    def on_report(error: object, message: object) -> None:
        if error is not None:
            refused.append(error)

    made = []
    for index in range(first, first + count):
        made.append(make(index))
        producer.produce(topic, made[-1].payload, partition=index % partitions, on_delivery=on_report)
        if index % 2000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0 and not refused, refused
    return made


class Feeder(threading.Thread):
    """Feeds at a rate until it is stopped; `made` is what was acknowledged then."""

    def __init__(self, bootstrap: str, rate: int, partitions: int = 4, topic: str = INPUT) -> None:
        super().__init__(daemon=True)
        self.bootstrap, self.rate, self.partitions, self.topic = bootstrap, rate, partitions, topic
        self.made: list[Made] = []
        self.failure: BaseException | None = None
        self._stopping = threading.Event()

    def run(self) -> None:
        try:
            slice_s = 0.25
            while not self._stopping.is_set():
                begun_s = time.monotonic()
                count = int(self.rate * slice_s)
                self.made += feed(self.bootstrap, len(self.made), count, self.topic, self.partitions)
                self._stopping.wait(max(0.0, slice_s - (time.monotonic() - begun_s)))
        except BaseException as error:  # noqa: BLE001 - told to the test in `stop`
            self.failure = error

    def stop(self) -> list[Made]:
        self._stopping.set()
        self.join(60)
        if self.failure:
            raise self.failure
        return self.made
