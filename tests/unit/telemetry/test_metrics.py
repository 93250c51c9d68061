"""The books and the counters. In: counts. Out: whether they balance, and numbers under names that the table has."""

import re

import pytest

from ingestd.telemetry.metrics import METRICS, Books, Counters


def test_every_record_is_in_exactly_one_column() -> None:
    books = Books()
    books.received("in", 10)
    assert books.as_dict()["in"]["in_flight"] == 10 and books.balances()
    books.ended("in", delivered=4, dropped=1)
    books.ended("in", dead_lettered=2, abandoned=1)
    assert books.as_dict() == {
        "in": {"received": 10, "delivered": 4, "dropped": 1, "dead_lettered": 2, "abandoned": 1, "in_flight": 2}
    }
    assert books.balances()


def test_topics_have_accounts_of_their_own_and_add_up() -> None:
    books = Books()
    books.received("b", 2)
    books.received("a", 3)
    books.ended("a", delivered=3)
    assert list(books.as_dict()) == ["a", "b"]
    assert (books.total("received"), books.total("delivered"), books.total("in_flight")) == (5, 3, 2)


@pytest.mark.parametrize("column", ["received", "delivered", "dropped", "dead_lettered", "abandoned", "in_flight"])
def test_a_count_that_goes_astray_is_noticed(column: str) -> None:
    """`in_flight` is counted on its own: a balance that it was derived from could not fail."""
    books = Books()
    books.received("in", 10)
    books.ended("in", delivered=5)
    account = books.account("in")
    setattr(account, column, getattr(account, column) + 1)
    assert not books.balances()


def test_more_ends_than_records_are_noticed_though_the_sum_is_right() -> None:
    books = Books()
    books.received("in", 1)
    books.ended("in", delivered=2)
    assert books.account("in").balances() and not books.balances()


def test_one_topic_that_does_not_balance_is_not_made_up_for_by_another() -> None:
    books = Books()
    books.received("a", 1)
    books.received("b", 1)
    books.account("a").received += 1
    books.account("b").received -= 1
    assert not books.balances()


def test_books_without_a_record_balance() -> None:
    assert Books().balances() and Books().total("received") == 0


def test_counters_add_up_by_name_and_labels() -> None:
    counters = Counters()
    counters.add("ingestd_errors_total", "produce", "TIMED_OUT")
    counters.add("ingestd_errors_total", "produce", "TIMED_OUT", count=4)
    counters.add("ingestd_errors_total", "commit", "TIMED_OUT")
    counters.add("ingestd_events_abandoned_total", count=7)
    assert counters.value("ingestd_errors_total", "produce", "TIMED_OUT") == 5
    assert counters.value("ingestd_errors_total", "index", "OOM") == 0
    assert counters.total("ingestd_errors_total") == 6
    assert counters.as_dict() == {
        "ingestd_errors_total{stage=commit,class=TIMED_OUT}": 1,
        "ingestd_errors_total{stage=produce,class=TIMED_OUT}": 5,
        "ingestd_events_abandoned_total{}": 7,
    }


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("ingestd_errors_total", ("produce",)),
        ("ingestd_errors_total", ("produce", "x", "y")),
        ("ingestd_events_abandoned_total", ("in",)),
        ("ingestd_no_such_total", ()),
    ],
)
def test_a_name_or_label_that_the_table_does_not_have_is_a_fault_of_the_caller(
    name: str, labels: tuple[str, ...]
) -> None:
    with pytest.raises((AssertionError, KeyError)):
        Counters().add(name, *labels)


@pytest.mark.parametrize("name", list(METRICS))
def test_the_table_has_names_as_prometheus_wants_them_and_a_sentence_each(name: str) -> None:
    metric = METRICS[name]
    assert re.fullmatch(r"ingestd_[a-z_]+", name)
    assert (metric.kind == "counter") == name.endswith("_total")
    assert all(re.fullmatch(r"[a-z_]+", label) for label in metric.labels)
    assert not metric.help[0].islower() and metric.help.endswith(".")
