"""The books and the counters. Counts in, numbers out. Plain ints, published once a batch; no I/O, no clock.

METRICS is the one table of metric names: each with its kind, its labels and a sentence (design 6.7).
"""

from collections import Counter
from typing import Final

METRICS: Final = {
    "ingestd_events_received_total": ("counter", ("source_topic",), "Records taken from Kafka."),
    "ingestd_events_delivered_total": ("counter", ("source_topic",), "Events that are done in every sink."),
    "ingestd_events_sent_total": ("counter", ("sink", "type"), "Records produced and Redis commands answered."),
    "ingestd_events_discarded_total": (
        "counter",
        ("reason", "intentional"),
        "Events that a rule or a setting dropped.",
    ),
    "ingestd_events_abandoned_total": ("counter", (), "Events given back to the group before they were done."),
    "ingestd_dead_letters_total": ("counter", ("class",), "Events that went to the dead-letter topic."),
    "ingestd_errors_total": ("counter", ("stage", "class"), "Errors that were retried or reported."),
    "ingestd_records_missed_total": ("counter", ("source_topic",), "Records gone from Kafka before they were read."),
    "ingestd_in_flight_events": ("gauge", (), "Events taken and not yet done."),
    "ingestd_buffer_bytes": ("gauge", (), "Memory of events in flight, with their Redis bytes."),
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
    """The accounts by source topic (design 5.2). `in_flight` is counted up and down on its own, never derived:
    so the balance is a check and not a tautology."""

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


class Counters:
    """Labelled counters by metric name. A name or a label set that METRICS does not have is a fault in the caller."""

    def __init__(self) -> None:
        self._values: Counter[tuple[str, tuple[str, ...]]] = Counter()

    def add(self, metric: str, *labels: str, count: int = 1) -> None:
        assert len(labels) == len(METRICS[metric][1]), f"{metric} has the labels {METRICS[metric][1]}"
        self._values[metric, labels] += count

    def value(self, metric: str, *labels: str) -> int:
        return self._values[metric, labels]

    def total(self, metric: str) -> int:
        return sum(count for (name, _), count in self._values.items() if name == metric)

    def as_dict(self) -> dict[str, int]:
        return {
            f"{name}{{{','.join(f'{k}={v}' for k, v in zip(METRICS[name][1], labels, strict=True))}}}": count
            for (name, labels), count in sorted(self._values.items())
        }
