"""A program of somebody else's that publishes, consumes and carries ids on, against a mock cluster of its own.

It is run where only the package and its base dependencies are installed, and prints "done" when all went well.
"""

import asyncio
import logging

from ingestd._librdkafka import MockCluster
from ingestd.client import (
    AsyncConsumer,
    AsyncProducer,
    Consumer,
    Event,
    EventFilter,
    EventStreamingService,
    LogHandler,
    Producer,
    bind,
    extract,
    inject,
)
from ingestd.config.schema import Config, KafkaConfig

TOPIC = "observability.events"


def publish(brokers: str) -> None:
    with Producer(brokers, TOPIC, "checkout") as producer, bind(extract({"X-Correlation-ID": "order-7"})):
        assert inject({})["X-Correlation-ID"] == "order-7"
        assert producer.publish_log("error", "api", "card refused").result(30).topic == TOPIC
        log = logging.getLogger("checkout")
        log.addHandler(LogHandler(producer))
        log.warning("slow")
    config = Config(kafka=KafkaConfig(brokers=tuple(brokers.split(","))))
    with EventStreamingService(config) as service:
        with service.trace("charge card"):
            service.publish_log_event("info", "api", "charged").result(30)


async def publish_and_consume_awaited(brokers: str) -> None:
    async with AsyncProducer(brokers, TOPIC, "checkout") as producer:
        await producer.publish_metric("runtime", "queue_depth", 12)
    seen: list[str] = []

    async def handle(event: Event) -> None:
        seen.append(event.type)

    async with AsyncConsumer(brokers, TOPIC, "awaited", idle_stop_s=1) as consumer:
        await consumer.consume_with_filter(handle, EventFilter(types="metric"))
    assert seen == ["metric"], seen


def main() -> None:
    cluster = MockCluster()
    try:
        cluster.create_topic(TOPIC, 2)
        publish(cluster.bootstraps)
        seen: list[Event] = []
        with Consumer(cluster.bootstraps, TOPIC, "blocking", idle_stop_s=1) as consumer:
            consumer.consume_errors(seen.append)
        assert [(event.message, event.correlation_id) for event in seen] == [("card refused", "order-7")], seen
        asyncio.run(publish_and_consume_awaited(cluster.bootstraps))
    finally:
        cluster.close()
    print("done")


if __name__ == "__main__":
    main()
