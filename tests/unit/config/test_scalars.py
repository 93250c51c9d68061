"""How single values of a file are read: text stays as it was written, numbers and booleans have one spelling."""

import pytest

from ingestd.config import checks
from ingestd.config.loading import Loaded, parse, parse_located
from ingestd.errors import ConfigError, Problem

# What YAML 1.1 takes for something else than text.
GUESSED = (
    "1.10 NO no yes on off y n True 01234 0o17 0x1F 1e3 12:30 190:20:30 2024-01-01 .5 1_000 +1 1. .inf .nan 0b1 = <"
).split()


def problem_of(text: str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("word", GUESSED)
def test_a_text_keeps_its_spelling_wherever_it_stands(word: str) -> None:
    config = parse(f"""
        kafka: {{group_id: {word}, rack: {word}, consumer_options: {{ssl.key.password: {word}}}}}
        rules: [{{name: {word}, action: drop, match: {{services: [{word}], labels: {{{word}: {word}, b: [{word}]}}}}}}]
    """)
    (rule,) = config.rules
    assert (config.kafka.group_id, config.kafka.rack) == (word, word)
    assert config.kafka.consumer_options == {"ssl.key.password": word}
    assert rule.name == word and rule.match.services == (word,)
    assert rule.match.labels == {word: (word,), "b": (word,)}


@pytest.mark.parametrize("word", ["null", "~", "Null", ""])
def test_null_is_null_where_a_key_may_be_null_and_a_word_in_quotes(word: str) -> None:
    assert parse(f"kafka: {{rack: {word}}}").kafka.rack is None
    assert parse(f"kafka: {{rack: '{word}'}}").kafka.rack == word
    assert "quotes" in problem_of(f"kafka: {{group_id: {word}}}").mend
    assert "quotes" in problem_of(f"rules: [{{name: r, action: drop, match: {{labels: {{a: {word}}}}}}}]").mend


TRACING = "observability: {{event_streaming: {{enable_distributed_tracing: {0}}}}}"


@pytest.mark.parametrize(("word", "value"), [("true", True), ("FALSE", False), ("True", True), ("fAlse", False)])
def test_a_boolean_is_true_or_false_in_any_case(word: str, value: bool) -> None:
    assert parse(TRACING.format(word)).observability.event_streaming.enable_distributed_tracing is value


@pytest.mark.parametrize(("word", "mend"), [("yes", "true"), ("NO", "false"), ("on", "true"), ("Off", "false")])
def test_other_words_for_a_boolean_are_refused_with_the_right_one(word: str, mend: str) -> None:
    assert problem_of(TRACING.format(word)).mend == f"write {mend}"


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("0256", "leading zero"),
        ("0x100", "hexadecimal"),
        ("0o400", "octal"),
        ("0b100000000", "binary"),
        ("1_000", "underscores"),
        ("1:30", "base 60"),
        ("1e3", "exponent"),
        ("256.0", "without a fraction"),
        ("256MiB", "names the unit"),
        ("'256'", "quotes"),
        ("9" * 5000, "digits"),
        ("2,000", "commas"),
    ],
)
def test_other_spellings_of_a_number_are_refused_by_name(text: str, mend: str) -> None:
    quoted = f'"{text}"' if "," in text else text
    problem = problem_of(f"pipeline:\n  memory_limit_mib: {quoted}\n")
    assert mend in problem.mend and problem.place == "(text):2:21"


@pytest.mark.parametrize("text", ["1e-1", ".nan", ".inf", "00.5", "0,5", "1:30", "10%"])
def test_other_spellings_of_a_share_are_refused_by_name(text: str) -> None:
    quoted = f'"{text}"' if "," in text else text
    assert problem_of(f"pipeline: {{dead_letter: {{max_ratio: {quoted}}}}}").mend


@pytest.mark.parametrize(("text", "value"), [("0.25", 0.25), (".5", 0.5), ("1.", 1.0), ("1", 1.0), ("+0.5", 0.5)])
def test_decimals_are_numbers(text: str, value: float) -> None:
    assert parse(f"pipeline: {{dead_letter: {{max_ratio: {text}}}}}").pipeline.dead_letter.max_ratio == value


# Places.


def test_each_problem_says_where_in_the_file_it_stands() -> None:
    text = "kafka:\n  grup_id: x\n  brokers: 5\nrules:\n  - name: r\n    action: dropp\n  - {}\n"
    with pytest.raises(ConfigError) as caught:
        parse(text, "c.yaml")
    assert {problem.path: problem.place for problem in caught.value.problems} == {
        "kafka.grup_id": "c.yaml:2:3",
        "kafka.brokers": "c.yaml:3:12",
        "rules[0].action": "c.yaml:6:13",
        "rules[1].name": "c.yaml:7:5",
        "rules[1].action": "c.yaml:7:5",
    }
    assert str(caught.value.problems[1]).startswith("c.yaml:3:12: kafka.brokers: 5 does not fit")


def test_problems_of_sense_have_the_place_of_their_key_or_of_what_holds_it() -> None:
    loaded = parse_located(
        "kafka:\n  brokers: [a]\n  consumer_options:\n    enable.auto.commit: true\n"
        "rules:\n- name: r\n  action: copy\n- {name: s, action: drop, match: {types: [x]}}\n",
        "c.yaml",
    )
    found = {problem.path: problem.place for problem in loaded.located(checks.check(loaded.config))}
    assert found == {
        "kafka.brokers[0]": "c.yaml:2:13",
        "kafka.consumer_options.enable.auto.commit": "c.yaml:4:25",
        "rules[0].topics": "c.yaml:6:3",
        "rules[1].match.types": "c.yaml:8:35",
    }
    nowhere = Problem("kafka.group_id", "is empty")
    assert Loaded(loaded.config).located([nowhere]) == [nowhere]


# Anchors, aliases and merge keys.


def test_anchors_below_x_keys_are_merged_and_own_keys_win() -> None:
    config = parse("""
        x-match: &match {types: [log], levels: [debug]}
        x-more: &more {levels: [info], services: [a]}
        rules:
        - {name: one, action: drop, match: *match}
        - {name: two, action: drop, match: {<<: *match, levels: [error]}}
        - {name: three, action: drop, match: {services: [b], <<: [*match, *more]}}
    """)
    one, two, three = (rule.match for rule in config.rules)
    assert (one.types, one.levels) == (("log",), ("debug",))
    assert (two.types, two.levels) == (("log",), ("error",))
    assert (three.types, three.levels, three.services) == (("log",), ("debug",), ("b",))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("kafka: {<<: 5}", "<<"),
        ("x-a: &a {}\nkafka: {<<: *a, <<: *a}", "twice"),
        ("kafka: &a {<<: *a}", "no anchor"),
        ("x-a: &a [*a]", "no anchor"),
        ("kafka: *missing", "no anchor"),
        ("kafka: {x-a: 1}", "unknown key"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ('kafka: {group_id: "\\ud800"}', "half a character"),
        ('kafka: {group_id: "\\0"}', "NUL"),
        ('kafka: {group_id: "\\UFFFFFFFF"}', "not YAML"),
        ("kafka: {brokers: [${A}]}", "not YAML"),
        ("kafka:\n\tgroup_id: a", "not YAML"),
        ("%YAML " + "1" * 5000 + ".1\n--- {}", "not YAML"),
        ("kafka: {group_id: a\x07}", "U+0007"),
    ],
)
def test_what_is_no_config_is_said_in_words(text: str, what: str) -> None:
    problem = problem_of(text)
    assert what in problem.what and problem.place


def test_json_with_a_character_in_two_escapes_is_read() -> None:
    assert parse('{"kafka": {"rack": "\\ud83d\\ude00"}}').kafka.rack == "\U0001f600"


def test_aliases_of_aliases_are_bounded() -> None:
    lines = ["x-0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "aliases written out" in problem_of("\n".join(lines)).what


def test_long_texts_are_bounded_with_their_aliases() -> None:
    text = f"x-a: &a {'b' * 500_000}\nkafka: {{input_topics: [{', '.join(['*a'] * 50)}]}}"
    assert "aliases written out" in problem_of(text).what


def test_a_file_of_problems_ends_after_the_first_hundred() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("".join(f"key{n}: 1\n" for n in range(5000)))
    assert len(caught.value.problems) == 101 and "more problems" in caught.value.problems[-1].what
