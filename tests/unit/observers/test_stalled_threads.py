"""Which threads stand still. The kernel's books are made up, but for one test that reads them."""

import confluent_kafka

from ingestd.observers.stalled_threads import Mark, Threads, read_marks

LIMIT_S = 10.0


class Books:
    """What the next look finds."""

    def __init__(self) -> None:
        self.marks: dict[str, Mark] = {}

    def __call__(self) -> dict[str, Mark]:
        return dict(self.marks)


def mark(switches: int, running: bool = False, name: str = "rdk:main") -> Mark:
    return Mark(name, running, switches)


def test_a_thread_that_was_not_scheduled_once_is_silent_until_it_runs_again():
    books = Books()
    threads = Threads(books)
    books.marks = {"7": mark(100), "8": mark(5, name="rdk:broker1")}
    assert threads.silent(0.0, LIMIT_S) == []
    books.marks["8"] = mark(6, name="rdk:broker1")
    assert threads.silent(10.0, LIMIT_S) == []
    books.marks["8"] = mark(7, name="rdk:broker1")
    assert threads.silent(10.5, LIMIT_S) == ["rdk:main"]
    books.marks["7"] = mark(101)
    assert threads.silent(11.0, LIMIT_S) == []


def test_a_thread_that_computes_without_a_pause_is_not_silent():
    books = Books()
    threads = Threads(books)
    books.marks = {"7": mark(100, running=True)}
    assert threads.silent(0.0, LIMIT_S) == [] == threads.silent(60.0, LIMIT_S)


def test_a_thread_that_ended_is_forgotten_and_its_number_may_come_again():
    books = Books()
    threads = Threads(books)
    books.marks = {"7": mark(100)}
    threads.silent(0.0, LIMIT_S)
    books.marks = {}
    assert threads.silent(20.0, LIMIT_S) == []
    books.marks = {"7": mark(100)}
    assert threads.silent(40.0, LIMIT_S) == []


def test_the_kernel_names_librdkafkas_threads_and_no_others():
    producer = confluent_kafka.Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    found = read_marks()
    assert "rdk:main" in {each.name for each in found.values()}
    assert all(each.name.startswith("rdk:") and each.switches >= 0 for each in found.values())
    del producer
