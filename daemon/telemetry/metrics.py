"""Metrics: the table of all metric names, the books by source topic, counters and histograms. No I/O, no clock.

METRICS is the one table of metric names: each with its kind, its labels and a sentence.
docs/monitoring/README.md is made from it.
"""

from bisect import bisect_left
from collections import Counter
from typing import Final, NamedTuple

from .loop_phases import Phases


class Metric(NamedTuple):
    """One row of METRICS. `buckets` are upper bounds, of histograms alone."""

    kind: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


# From what a local broker needs to an outage that is waited for.
SINK_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# From a quiet machine to a backlog of a day.
END_TO_END_BUCKETS: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    3600.0,
    86400.0,
)

METRICS: Final = {
    "ingestd_events_received_total": Metric("counter", ("source_topic",), "Records taken from Kafka."),
    "ingestd_events_delivered_total": Metric("counter", ("source_topic",), "Events that are done in every sink."),
    "ingestd_events_sent_total": Metric(
        "counter",
        ("sink", "type"),
        "Records that Kafka acknowledged, by the type whose topic they went to, dead_letter, or other for the topics "
        "of rules; commands that Redis answered.",
    ),
    "ingestd_events_discarded_total": Metric(
        "counter", ("reason", "intentional"), "Events that a rule or a setting dropped."
    ),
    "ingestd_events_abandoned_total": Metric("counter", (), "Events given back to the group before they were done."),
    "ingestd_dead_letters_total": Metric("counter", ("class",), "Events that went to the dead-letter topic."),
    "ingestd_error_events_total": Metric(
        "counter",
        ("service", "level"),
        "Log events of level error or fatal that were read, by the service that published them. "
        "The first 256 services have a series each, the rest is other.",
    ),
    "ingestd_errors_total": Metric("counter", ("stage", "class"), "Errors that were retried or reported."),
    "ingestd_records_missed_total": Metric(
        "counter", ("source_topic",), "Records that Kafka had deleted before they were read."
    ),
    "ingestd_rebalances_total": Metric(
        "counter", ("kind",), "Changes of what is read here: assigned, given_back, undrained, lost."
    ),
    "ingestd_reloads_total": Metric(
        "counter", ("result",), "Times that the config was read again: ok, partly (some keys need a restart), refused."
    ),
    "ingestd_reconnects_total": Metric("counter", ("sink",), "Connections that were made again after a loss."),
    "ingestd_held_back_total": Metric(
        "counter", ("sink",), "Times that nothing was taken for a second or more, by the sink that was waited for."
    ),
    "ingestd_batches_total": Metric("counter", (), "Batches taken: received events divided by it is the batch size."),
    "ingestd_kafka_consumer_lag_records": Metric(
        "gauge", ("topic", "partition"), "Records of an owned partition that have not reached their end."
    ),
    "ingestd_kafka_consumer_lag_seconds": Metric(
        "gauge", ("topic", "partition"), "Age of the first record of an owned partition that has not reached its end."
    ),
    "ingestd_assigned_partitions": Metric("gauge", (), "Partitions that this member owns."),
    "ingestd_joined": Metric("gauge", (), "1 when the group has given this member an assignment, also an empty one."),
    "ingestd_sink_connected": Metric("gauge", ("sink",), "1 when the sink is there: Redis connected, Kafka answering."),
    "ingestd_sink_open_batches": Metric("gauge", ("sink",), "Batches that wait for the sink."),
    "ingestd_sink_seconds": Metric(
        "histogram",
        ("sink",),
        "From a batch's hand-over to its last acknowledgement or reply, once a batch.",
        SINK_BUCKETS,
    ),
    "ingestd_end_to_end_seconds": Metric(
        "histogram",
        (),
        "From a record's timestamp until its batch was done in every sink. Each event counts with the time of the "
        "first record of its partition in the batch, the oldest: an upper bound, exact when little comes in.",
        END_TO_END_BUCKETS,
    ),
    "ingestd_in_flight_events": Metric("gauge", (), "Events taken and not yet done."),
    "ingestd_in_flight_events_max": Metric("gauge", (), "The limit, pipeline.in_flight_events_max."),
    "ingestd_buffer_bytes": Metric("gauge", (), "Memory of events in flight, with their Redis bytes."),
    "ingestd_buffer_bytes_max": Metric("gauge", (), "The limit, a share of pipeline.memory_limit_mib."),
    "ingestd_holding_back": Metric("gauge", (), "1 when nothing is taken because a limit is reached."),
    "ingestd_loop_seconds_total": Metric(
        "counter",
        ("phase",),
        "Where the loop's time goes; all phases together are the wall clock. process is decoding and rules, commit "
        "is closing batches and storing offsets, other is health, HTTP and what the loop does itself, waiting is when "
        "its thread had nothing to do.",
    ),
    "ingestd_loop_cpu_wait_seconds_total": Metric(
        "counter", (), "How long the loop's thread had work and no processor, in whichever phase. From /proc."
    ),
    "ingestd_books_balanced": Metric(
        "gauge", (), "1 when received = delivered + dropped + dead-lettered + abandoned + in flight."
    ),
    "ingestd_component_health": Metric(
        "gauge", ("component",), "0 healthy, 1 degraded, 2 unhealthy: what the health events say."
    ),
    "ingestd_build_info": Metric("gauge", ("version", "python", "librdkafka"), "Always 1; the labels say what runs."),
}


class Account:
    """What became of the records of one source topic. Every record is in exactly one of the last five."""

    __slots__ = ("abandoned", "dead_lettered", "delivered", "dropped", "in_flight", "received")

    def __init__(self) -> None:
        self.received = self.delivered = self.dropped = self.dead_lettered = self.abandoned = self.in_flight = 0

    def balances(self) -> bool:
        ended = self.delivered + self.dropped + self.dead_lettered + self.abandoned
        return self.received == ended + self.in_flight

    def as_dict(self) -> dict[str, int]:
        return {
            name: getattr(self, name)
            for name in ("received", "delivered", "dropped", "dead_lettered", "abandoned", "in_flight")
        }


class Books:
    """The accounts by source topic.

    Non-obvious: `in_flight` is counted up and down on its own and never derived, so the balance is a check.
    Taken from the other columns it would balance whatever was lost.
    """

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    def account(self, topic: str) -> Account:
        account = self._accounts.get(topic)
        if account is None:
            account = self._accounts[topic] = Account()
        return account

    def received(self, topic: str, count: int) -> None:
        account = self.account(topic)
        account.received += count
        account.in_flight += count

    def ended(
        self, topic: str, *, delivered: int = 0, dropped: int = 0, dead_lettered: int = 0, abandoned: int = 0
    ) -> None:
        account = self.account(topic)
        account.delivered += delivered
        account.dropped += dropped
        account.dead_lettered += dead_lettered
        account.abandoned += abandoned
        account.in_flight -= delivered + dropped + dead_lettered + abandoned

    def total(self, name: str) -> int:
        """One column over all topics."""
        return sum(getattr(account, name) for account in self._accounts.values())

    def balances(self) -> bool:
        return all(account.balances() and account.in_flight >= 0 for account in self._accounts.values())

    def as_dict(self) -> dict[str, dict[str, int]]:
        return {topic: account.as_dict() for topic, account in sorted(self._accounts.items())}


class Histogram:
    """How often which value was seen. `observe` is called once a batch or a run of records, never once an event."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """`count` events of this value."""
        self._counts[bisect_left(self._bounds, value)] += count
        self.total += value * count

    @property
    def count(self) -> int:
        return sum(self._counts)

    def cumulative(self) -> list[tuple[float, int]]:
        """(upper bound, how many up to it), the last without bound."""
        found, seen = [], 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            seen += count
            found.append((bound, seen))
        return found


class Counters:
    """Labelled counters and histograms by metric name, and the loop's phases: all that components count in.

    A name or a label set that METRICS does not have is a fault in the caller.
    """

    def __init__(self, phases: Phases | None = None) -> None:
        self._values: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._histograms: dict[tuple[str, tuple[str, ...]], Histogram] = {}
        # Who asks for no phases, such as a test, has clocks that stand.
        self.phases = phases or Phases(lambda: 0, lambda: 0)

    def add(self, metric: str, *labels: str, count: int = 1) -> None:
        assert len(labels) == len(METRICS[metric].labels), f"{metric} has the labels {METRICS[metric].labels}"
        self._values[metric, labels] += count

    def histogram(self, metric: str, *labels: str) -> Histogram:
        """The one of this name and these labels; a component asks once and keeps it."""
        row = METRICS[metric]
        assert len(labels) == len(row.labels) and row.buckets, f"{metric} has the labels {row.labels}"
        return self._histograms.setdefault((metric, labels), Histogram(row.buckets))

    def value(self, metric: str, *labels: str) -> int:
        return self._values[metric, labels]

    def total(self, metric: str) -> int:
        return sum(count for (name, _), count in self._values.items() if name == metric)

    def samples(self, metric: str) -> list[tuple[tuple[str, ...], int]]:
        """(labels, count) of one counter."""
        return sorted((labels, count) for (name, labels), count in self._values.items() if name == metric)

    def histograms(self, metric: str) -> list[tuple[tuple[str, ...], Histogram]]:
        """(labels, histogram) of one histogram."""
        return sorted((labels, found) for (name, labels), found in self._histograms.items() if name == metric)

    def as_dict(self) -> dict[str, int]:
        return {
            f"{name}{{{','.join(f'{k}={v}' for k, v in zip(METRICS[name].labels, labels, strict=True))}}}": count
            for (name, labels), count in sorted(self._values.items())
        }
