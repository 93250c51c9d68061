"""Expressions for topics. In: a text and a name. Out: whether librdkafka would subscribe to that name."""

import pytest

from ingestd.config.topic_pattern import TopicPattern


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("^observability", "observability.logs", True),
        ("^observability$", "observability.logs", False),
        ("^observability[.]logs$", "observability.logs", True),
        ("^bservability", "observability.logs", False),
        ("^events|logs", "observability.logs", True),  # the second half stands anywhere
        ("^(events|logs)", "observability.logs", False),
        ("^observability[.][[:alpha:]]+$", "observability.logs", True),
        ("^o{1,2}b", "observability.logs", True),
        ("^\\w+$", "logs", True),
        ("^\\d", "7", False),  # a d, as POSIX has no such class
        ("^", "anything", True),
    ],
)
def test_a_name_is_found_as_posix_says(text: str, name: str, found: bool) -> None:
    assert TopicPattern(text).matches(name) is found


@pytest.mark.parametrize("text", ["^(a", "^a{1,", "^[a", "^(?!observability)", "^(?:a)", "^(?i)a", "^a\\"])
def test_what_librdkafka_would_refuse_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        TopicPattern(text)


def test_many_patterns_come_and_go() -> None:
    """Each frees what it holds once: a second time would end the process."""
    for number in range(1000):
        assert TopicPattern(f"^t{number}$").matches(f"t{number}")
