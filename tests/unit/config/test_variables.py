"""Variables of the environment in a value: as in a shell, or refused by name."""

import pytest

from ingestd.config import variables
from ingestd.config.loading import parse
from ingestd.config.variables import Wrong, replace_variables
from ingestd.errors import ConfigError, Problem

ENVIRONMENT = {"X": "x", "Y": "y", "EMPTY": "", "DOLLAR": "${X}", "BAD": "a\udcff"}


def replaced(text: str) -> str:
    return replace_variables(text, ENVIRONMENT.get).text


def wrong(text: str) -> Wrong:
    with pytest.raises(Wrong) as caught:
        replaced(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a${X}b${Y}", "axby"),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${N:-d}", "d"),
        ("${N-d}", "d"),
        ("${N:-${EMPTY:-${Y}}}", "y"),
        ("${X:-${N}}", "x"),
        ("${N:-a$$b}", "a$b"),
        ("${N:-}", ""),
        ("${X:?must be}", "x"),
        ("${X:+other}", "other"),
        ("${EMPTY:+other}", ""),
        ("${EMPTY+other}", "other"),
        ("${N+other}", ""),
        ("${DOLLAR}", "${X}"),
        ("$${X}", "${X}"),
        ("$$X $$(X)", "$X $(X)"),
        ("^a$", "^a$"),
        ("(a$|b) 5$ $5", "(a$|b) 5$ $5"),
        ("{X} }", "{X} }"),
    ],
)
def test_what_a_shell_knows_is_read_as_a_shell_reads_it(text: str, value: str) -> None:
    assert replaced(text) == value


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("${env:X}", "write ${X}"),
        ("$X", "write ${X}"),
        ("$(X)", "write ${X}"),
        ("$(cat /etc/x)", "commands"),
        ("${X:=d}", "${X:-default}"),
        ("${X%.*}", "known are"),
        ("${#X}", "known are"),
        ("${X:0:2}", "known are"),
        ("${}", "known are"),
        ("${X Y}", "known are"),
        ("${X", "known are"),
        ("${X:-a", ""),
        ("${N}", "set it"),
        ("${N:-${M}}", "${M:-default}"),
        ("${BAD}", ""),
        ("${N:-" * 20 + "}" * 20, ""),
    ],
)
def test_other_forms_are_refused_with_the_mend(text: str, mend: str) -> None:
    assert mend in wrong(text).mend


def test_a_message_is_said_when_its_variable_is_missing() -> None:
    assert "ask the platform team" in wrong("${N:?ask the platform team}").what
    assert "ask" in wrong("${EMPTY:?ask}").what and wrong("${EMPTY:?ask}").is_unset


def test_what_variables_bring_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variables, "CHARS_MAX", 10)
    assert "more than 10" in wrong("${X}" * 11).what


# In a config.


def problem_of(text: str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    (problem,) = caught.value.problems
    return problem


def test_an_empty_variable_turns_nothing_off_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN", "")
    assert parse("http: {listen: '${LISTEN:-127.0.0.1:1}'}").http.listen == "127.0.0.1:1"
    assert "is empty" in problem_of("http: {listen: '${LISTEN}'}").what
    assert "is empty" in problem_of("kafka: {input_topics: '${LISTEN}'}").what
    assert parse("http: {listen: '${LISTEN:-}'}").http.listen is None
    assert parse("kafka: {input_topics: '${LISTEN:-}'}").kafka.input_topics is None


@pytest.mark.parametrize("listed", ["a:1,b:2", " a:1 , b:2,", "a:1,,b:2"])
def test_a_list_takes_a_variable_with_commas(listed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKERS", listed)
    monkeypatch.setenv("TYPES", "log,trace")
    config = parse("kafka: {brokers: '${BROKERS}'}\nstorage: {types: '${TYPES}'}")
    assert config.kafka.brokers == ("a:1", "b:2") and config.storage.types == ("log", "trace")


def test_what_a_list_takes_of_a_variable_is_not_replaced_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPICS", "^a$,${X}")
    assert parse("kafka: {input_topics: '${TOPICS}'}").kafka.input_topics == ("^a$", "${X}")


@pytest.mark.parametrize(("value", "mend"), [("0500", "leading zero"), ("1:30", "base 60"), ("0x10", "hexadecimal")])
def test_a_number_from_a_variable_is_read_like_any_other(
    value: str, mend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("N", value)
    assert mend in problem_of("pipeline: {batch_events_max: '${N}'}").mend
