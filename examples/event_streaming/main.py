"""`python examples/event_streaming/main.py`: what event streaming with ingestd is, in one run on this machine.

Distributed tracing, correlation, structured publishing, filtering and routing, a producer and a consumer of one's own,
storage and retrieval, health and errors. It starts all it needs, prints what it found, and exits 1 if anything is
missing. Needs no broker, no root and no fixed port; takes about ten seconds. With `--stay` it reports nothing: the shop
takes orders until Ctrl-C, for whoever wants to look around.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

from confluent_kafka import Producer as KafkaProducer
from shop import Order, Shop
from stack import PAGER_TOPIC, TOPICS, Stack, running_stack, wait_until

from ingestd.client import Consumer, Event, EventFilter, EventStore, EventStreamingService, EventType, Level, Producer

ORDERS = 20
PROBLEMS: list[str] = []


def section(title: str) -> None:
    print(f"\n== {title} ==", flush=True)


def check(good: object, what: str) -> None:
    """Says what was found; what was not makes the example fail."""
    print(f"  {'found' if good else 'MISSING'}: {what}", flush=True)
    if not good:
        PROBLEMS.append(what)


def take_orders(stack: Stack) -> list[Order]:
    section("Structured publishing: three services take orders")
    shop = Shop(stack.config)
    try:
        orders = [shop.place_order(number) for number in range(ORDERS)]
    finally:
        shop.close()
    refused = sum(order.refused for order in orders)
    # A placed order: eight events of four spans, three logs, a debug log, a metric; a refused one differs.
    print(f"  {len(orders)} orders, {refused} of them refused; every event is acknowledged by Kafka")
    return orders


def own_producer(stack: Stack) -> int:
    section("A producer of one's own")
    with Producer(stack.bootstrap, TOPICS.observability_events, "warehouse", linger_ms=5) as producer:
        future = producer.publish_metric("shelves", "free_places", 41, {"hall": "7"}, correlation_id="stocktaking")
        delivery = future.result(10)
        print(f"  event {delivery.event_id} is record {delivery.offset} of {delivery.topic}/{delivery.partition}")
        producer.publish_health("scanner", "degraded", {"battery": "12 %"}, correlation_id="stocktaking")
        many = [
            Event(
                id="", type=EventType.LOG, level=Level.INFO, service="", component="shelves", timestamp="",
                message=f"shelf {number} counted", correlation_id="stocktaking",
            )
            for number in range(50)
        ]  # fmt: skip
        count = producer.publish_many(many).result(10)
        check(count == 50, "the acknowledgement of 50 events that were published as one batch")
    return 52


def own_consumer(stack: Stack) -> None:
    section("A consumer of one's own, with a filter")
    wanted = EventFilter(types=["log", "alert"], levels=["error", "fatal"], services=["payments"])
    seen: Counter[str] = Counter()

    with Consumer(stack.bootstrap, TOPICS.observability_events, "example-errors", idle_stop_s=20) as consumer:

        def handle(event: Event) -> None:
            seen[event.type.value] += 1
            if sum(seen.values()) == 1:
                print(f"  the first: {event.level} of {event.service}/{event.component}: {event.message}")
            if sum(seen.values()) == 2 * (ORDERS // 5):
                consumer.stop()

        consumer.consume_with_filter(handle, wanted)
    check(
        seen == {"log": ORDERS // 5, "alert": ORDERS // 5},
        "an error and an alert for each refused order",
    )


def filtering_and_routing(stack: Stack, orders: list[Order], own_count: int) -> None:
    section("Filtering and routing by the daemon's rules")
    refused = sum(order.refused for order in orders)
    # Four spans with two events each, three logs, a debug log, a metric; refused: one log less, an error, an alert.
    per_order, per_refused = 8 + 3 + 1 + 1, 8 + 1 + 1 + 1 + 2
    expected = per_order * (len(orders) - refused) + per_refused * refused + own_count
    books = stack.wait_done(expected)
    check(books["received"] == expected, f"all {expected} events in the daemon's books")
    check(books["dropped"] == len(orders), f"{books['dropped']} debug logs dropped by the rule `no debug logs`")
    balanced = books["received"] == sum(books[end] for end in ("delivered", "dropped", "dead_lettered", "abandoned"))
    check(balanced, f"the books balance: {books['delivered']} delivered")
    paged = read_topic(stack, PAGER_TOPIC, 3 * refused)
    check(
        Counter(event.type.value for event in paged) == {"log": refused, "alert": refused, "trace": refused},
        f"{len(paged)} copies in {PAGER_TOPIC} by the rule `wake payments`",
    )
    traces = read_topic(stack, TOPICS.traces, 8 * len(orders))
    check(
        all(event.type == "trace" for event in traces), f"{len(traces)} events in {TOPICS.traces}, all of them traces"
    )


def read_topic(stack: Stack, topic: str, count: int) -> list[Event]:
    """The first `count` events of a topic."""
    found: list[Event] = []
    with Consumer(stack.bootstrap, topic, f"example-{topic}", idle_stop_s=20) as consumer:
        for event in consumer:
            found.append(event)
            if len(found) >= count:
                break
    return found


def storage_and_retrieval(stack: Stack, orders: list[Order]) -> None:
    section("Storage and retrieval: one order, by its correlation id")
    order = next(order for order in orders if order.refused)
    with EventStreamingService(stack.config_path) as service:
        events = service.get_correlated_events(order.correlation_id)
    services = {event.service for event in events}
    check(services == {"gateway", "checkout", "payments"}, f"{len(events)} events of {', '.join(sorted(services))}")
    times = [event.timestamp_ns for event in events]
    check(times == sorted(times), "they are in time order")
    with EventStore(stack.redis_url) as store:
        errors = store.correlated(order.correlation_id, levels=["error", "fatal"], labels={"bank": "first"})
        check([event.message for event in errors] == ["the bank refused the card"], "the error, by level and label")
        check(store.get(errors[0].id) == errors[0], f"the same event by its id {errors[0].id}")
        pages = list(store.pages("stocktaking", limit=20))
        check([len(page) for page in pages] == [20, 20, 12], "a large group in pages of 20")
        check(store.correlated("order-*") == [], "nothing under order-*: no character is a wildcard")
    ingestd(stack, "events", "correlated", order.correlation_id, "--type", "log", "--type", "alert")


def distributed_tracing(stack: Stack, orders: list[Order]) -> None:
    section("Distributed tracing: the same order as a tree")
    order = next(order for order in orders if order.refused)
    with EventStore(stack.redis_url) as store:
        tree = store.trace(order.trace_id)
    names = [f"{span.service}: {span.operation}" for span in tree.spans]
    expected = ["gateway: POST /orders", "checkout: place order", "checkout: reserve stock", "payments: charge card"]
    check(names == expected, "a span of each service under its caller's, by the headers of the requests")
    check(not tree.missing_parents, "every parent")
    slow = tree.bottleneck
    check(slow is not None and slow.operation == "charge card", "the bottleneck: charge card")
    ingestd(stack, "events", "trace", order.trace_id)


def ingestd(stack: Stack, *words: str) -> None:
    """The command line, as an operator uses it."""
    print(f"\n$ ingestd {' '.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "ingestd", *words, "--redis", stack.redis_url], check=False)
    check(done.returncode == 0, f"the answer of `ingestd {' '.join(words[:2])}`")


def health_and_errors(stack: Stack) -> None:
    section("Health and error tracking")
    states: dict[str, str] = {}
    with Consumer(stack.bootstrap, TOPICS.health_checks, "example-health", idle_stop_s=20) as consumer:

        def handle(event: Event) -> None:
            states[f"{event.service} {event.component}"] = event.data["status"]
            # The daemon reports five components, as the service of its config.
            own = {name for name, status in states.items() if name.startswith("pipeline ") and status == "healthy"}
            if len(own) >= 5 and "warehouse scanner" in states:
                consumer.stop()

        consumer.consume_health(handle)
    for name, status in sorted(states.items()):
        print(f"  {name} is {status}")
    check(states.get("warehouse scanner") == "degraded", "the scanner's state")
    check(sum(status == "healthy" for status in states.values()) >= 5, "the daemon's five components, healthy")

    stacks: list[Event] = []
    with Consumer(stack.bootstrap, TOPICS.logs, "example-stacks", idle_stop_s=20) as consumer:

        def keep(event: Event) -> None:
            stacks.append(event)
            consumer.stop()

        consumer.consume_errors(keep)
    kind = stacks[0].data["error_type"] if stacks else None
    check(kind == "CardRefused", f"an error with its type: {kind}")


def dead_letters(stack: Stack) -> None:
    section("What is no event stops nobody")
    before = stack.books().get("dead_lettered", 0)
    producer = KafkaProducer({"bootstrap.servers": stack.bootstrap})
    producer.produce(TOPICS.observability_events, b'{"id": "cut", "type": "log", "lev')
    producer.flush(10)
    wait_until(lambda: stack.books().get("dead_lettered", 0) > before, "the dead letter")
    check(True, f"half an event in {TOPICS.dead_letter}, with the reason in its headers")


def stay(stack: Stack) -> None:
    """The shop takes two orders a second until Ctrl-C (or SIGTERM, or its terminal is closed)."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    print("The shop is open: two orders a second, until Ctrl-C. To look around, in another terminal:\n")
    print(f"  export INGESTD_CONFIG={stack.config_path}\n", flush=True)
    shop = Shop(stack.config)
    order_count = 0
    try:
        while not ended.wait(0.5):
            shop.place_order(order_count)
            order_count += 1
    finally:
        shop.close()
    print(f"\nThe shop took {order_count} orders.")


def main() -> int:
    parser = argparse.ArgumentParser(description="Event streaming with ingestd, in one run on this machine.")
    parser.add_argument("--stay", action="store_true", help="no report: take orders until Ctrl-C, to look around")
    staying = parser.parse_args().stay
    with tempfile.TemporaryDirectory(prefix="ingestd-example-") as folder, running_stack(Path(folder)) as stack:
        print(f"A mock Kafka at {stack.bootstrap}, a private Redis, and the daemon")
        if staying:
            stay(stack)
            return 0
        orders = take_orders(stack)
        own_count = own_producer(stack)
        own_consumer(stack)
        filtering_and_routing(stack, orders, own_count)
        storage_and_retrieval(stack, orders)
        distributed_tracing(stack, orders)
        health_and_errors(stack)
        dead_letters(stack)
    print(f"\n{len(PROBLEMS)} things are missing" if PROBLEMS else "\nEverything was found.")
    return 1 if PROBLEMS else 0


if __name__ == "__main__":
    sys.exit(main())
