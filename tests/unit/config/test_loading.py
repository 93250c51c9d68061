"""Unit tests of the config's form. In: YAML text and environment. Out: frozen Structs, or every problem at once."""

from pathlib import Path

import msgspec
import pytest

from ingestd.config.loading import find, load, parse
from ingestd.config.schema import Config
from ingestd.config.secrets import read_secret, secret_path
from ingestd.errors import ConfigError, Problem


def problems_of(text: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.problems


def paths_of(text: str) -> list[str]:
    return [problem.path for problem in problems_of(text)]


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder and none of the variables that lead to a config or a secret."""
    monkeypatch.delenv("INGESTD_CONFIG", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ingestd.config.loading.SEARCH_PATHS", ("config.yaml", str(tmp_path / "etc.yaml")))
    return tmp_path


# Defaults and form.


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "---\n"])
def test_an_empty_file_is_the_defaults(text: str) -> None:
    assert parse(text) == Config()


def test_a_section_without_keys_is_its_defaults() -> None:
    assert parse("kafka:\nredis:\n  tls:\n") == Config()


def test_the_config_is_frozen() -> None:
    with pytest.raises(AttributeError):
        parse("").kafka.group_id = "other"  # type: ignore[misc]


def test_lists_become_tuples_and_nested_sections_their_structs() -> None:
    config = parse("""
        kafka: {brokers: ["a:1", "b:2"], input_topics: ["^in"], security: {protocol: sasl_ssl}}
        redis: {sentinel: {master: main, nodes: ["s:26379"]}}
        rules: [{name: r, action: copy, topics: [t], match: {types: [log], labels: {env: prod, zone: [a, b]}}}]
    """)
    assert config.kafka.brokers == ("a:1", "b:2")
    assert config.kafka.security.protocol == "sasl_ssl"
    assert config.redis.sentinel is not None and config.redis.sentinel.nodes == ("s:26379",)
    assert config.rules[0].match.labels == {"env": ("prod",), "zone": ("a", "b")}
    hash(config.kafka.brokers)


def test_librdkafka_options_become_the_text_that_librdkafka_reads() -> None:
    options = parse("kafka: {consumer_options: {check.crcs: true, fetch.wait.max.ms: 50, debug: cgrp}}").kafka
    assert options.consumer_options == {"check.crcs": "true", "fetch.wait.max.ms": "50", "debug": "cgrp"}


def test_a_date_stays_text() -> None:
    assert parse("kafka: {group_id: 2024-01-01}").kafka.group_id == "2024-01-01"


def test_a_whole_number_stands_for_a_ratio() -> None:
    assert parse("pipeline: {dead_letter: {max_ratio: 1}}").pipeline.dead_letter.max_ratio == 1.0


def test_the_default_input_is_the_observability_topic() -> None:
    assert parse("kafka: {topics: {observability_events: in}}").input_topics() == ["in"]


def test_an_index_only_topic_that_is_an_input_too_is_subscribed_to_once() -> None:
    assert parse("kafka: {input_topics: [a, b], index_only_topics: [b, c]}").input_topics() == ["a", "b", "c"]


# All problems at once, each with its path and its mend.


def test_every_problem_is_named_at_once_with_its_path() -> None:
    text = """
        kaffka: {}
        kafka: {grup_id: x, brokers: 5, topics: {logs: null}}
        storage: {types: [log, logs]}
        pipeline: {batch_events_max: many, dead_letter: {max_ratio: high}}
        rules: [{name: a, action: drop}, {name: b, action: dropp, match: {typs: [log]}}, {action: keep}]
    """
    assert set(paths_of(text)) == {
        "kaffka",
        "kafka.grup_id",
        "kafka.brokers",
        "kafka.topics.logs",
        "storage.types[1]",
        "pipeline.batch_events_max",
        "pipeline.dead_letter.max_ratio",
        "rules[1].action",
        "rules[1].match.typs",
        "rules[2].name",
    }


@pytest.mark.parametrize(
    ("text", "near"),
    [("kaffka: {}", "kafka"), ("kafka: {grup_id: x}", "group_id"), ("redis: {tls: {cafile: x}}", "ca_file")],
)
def test_an_unknown_key_names_the_one_that_was_meant(text: str, near: str) -> None:
    (problem,) = problems_of(text)
    assert near in problem.mend


def test_an_unknown_key_that_is_near_nothing_lists_what_is_known() -> None:
    (problem,) = problems_of("http: {zzz: 1}")
    assert "listen" in problem.mend


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("pipeline: {batch_events_max: true}", "pipeline.batch_events_max"),
        ("pipeline: {batch_events_max: 1.5}", "pipeline.batch_events_max"),
        ("pipeline: {batch_events_max: '10'}", "pipeline.batch_events_max"),
        ("kafka: {group_id: [5]}", "kafka.group_id"),
        ("kafka: {group_id: null}", "kafka.group_id"),
        ("kafka: {brokers: 'a:1'}", "kafka.brokers"),
        ("kafka: {input_topics: [a, ~]}", "kafka.input_topics[1]"),
        ("kafka: {topics: [a]}", "kafka.topics"),
        ("redis: {sentinel: 5}", "redis.sentinel"),
        ("redis: {on_full: off}", "redis.on_full"),
        ("rules: {name: a}", "rules"),
        ("rules: [5]", "rules[0]"),
        ("logging: {level: loud}", "logging.level"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_by_its_path(text: str, path: str) -> None:
    assert paths_of(text) == [path]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("pipeline: {batch_events_max: '10'}", "'10' does not fit: it must be a whole number"),
        ("kafka: {group_id: null}", "null does not fit: it must be a text"),
        ("kafka: {rack: [5]}", "a list does not fit: it must be a text or null"),
        ("kafka: {brokers: 5}", "5 does not fit: it must be a list"),
        ("kafka: {consumer_options: 5}", "5 does not fit: it must be a mapping"),
        ("http: {listen: {a: b}}", "a mapping does not fit: it must be a text or null"),
        (
            "observability: {event_streaming: {enable_distributed_tracing: 5}}",
            "5 does not fit: it must be true or false",
        ),
        ("rules: [{name: a, action: sample, rate: all}]", "all does not fit: it must be a number or null"),
    ],
)
def test_what_a_key_takes_is_said_in_our_own_words(text: str, wanted: str) -> None:
    assert [problem.what for problem in problems_of(text)] == [wanted]


def test_a_word_that_is_not_allowed_comes_with_those_that_are() -> None:
    (problem,) = problems_of("redis: {on_full: blok}")
    assert "block" in str(problem) and "skip" in str(problem)


def test_missing_keys_of_a_sentinel_are_both_named() -> None:
    assert paths_of("redis: {sentinel: {}}") == ["redis.sentinel.master", "redis.sentinel.nodes"]


def test_an_empty_rule_lacks_its_required_keys() -> None:
    assert paths_of("rules: [null]") == ["rules[0].name", "rules[0].action"]


@pytest.mark.parametrize("text", ["5", "words", "[a]"])
def test_a_file_that_is_no_mapping_is_a_problem(text: str) -> None:
    assert problems_of(text)


# `false`, 0, "" and [] are not "nothing written": someone meant something by them.
@pytest.mark.parametrize("value", ["0", "false", "[]", "''"])
def test_a_falsy_value_does_not_pass_as_an_empty_section(value: str) -> None:
    assert problems_of(value)
    assert paths_of(f"kafka: {value}") == ["kafka"]


@pytest.mark.parametrize("value", ["null", "[a, b]", "{a: b}"])
def test_an_option_of_librdkafka_that_is_no_scalar_is_a_problem(value: str) -> None:
    assert paths_of(f"kafka: {{producer_options: {{linger.ms: {value}}}}}") == ["kafka.producer_options.linger.ms"]


@pytest.mark.parametrize("value", ["null", "{a: b}", "[a, null]", "[[a]]"])
def test_a_label_that_is_no_text_is_a_problem(value: str) -> None:
    (path,) = paths_of(f"rules: [{{name: r, action: drop, match: {{labels: {{env: {value}}}}}}}]")
    assert path.startswith("rules[0].match.labels.env")


# YAML itself.


@pytest.mark.parametrize("text", ["a: 'x", "\t", "a: [", "a: b: c", "--- {}\n--- {}\n", "a: !!python/name:os.system x"])
def test_text_that_is_not_yaml_is_a_problem_and_no_traceback(text: str) -> None:
    assert problems_of(text)


@pytest.mark.parametrize("text", ["? [a]\n: 1\n", "? {a: b}\n: 1\n"])
def test_a_key_that_is_no_scalar_is_a_problem_and_no_traceback(text: str) -> None:
    assert problems_of(text)


@pytest.mark.parametrize("tag", ["!!int", "!!str", "!!binary", "!own", "!", "!!python/name:os.system"])
def test_a_tag_is_refused_by_its_name_and_place(tag: str) -> None:
    (problem,) = problems_of(f"kafka:\n  group_id: {tag} abc\n")
    assert problem.place == "(text):2:13" and f"tag {tag}" in problem.what


def test_absurd_nesting_is_a_problem_and_no_traceback() -> None:
    assert problems_of("a: " + "[" * 5000 + "]" * 5000)


@pytest.mark.parametrize(
    "text", ["redis: {}\nredis: {}\n", "kafka:\n  group_id: a\n  group_id: a\n", "x: [{a: 1, a: 2}]"]
)
def test_a_key_that_stands_twice_is_an_error(text: str) -> None:
    assert "twice" in str(problems_of(text)[0])


# Variables.


def test_a_variable_is_replaced_inside_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGE", "prod")
    text = "kafka: {group_id: 'ingestd-${STAGE}', rack: '${RACK_THAT_IS_NOT_SET:-a}', client_id: '$${STAGE}'}"
    kafka = parse(text).kafka
    assert (kafka.group_id, kafka.rack, kafka.client_id) == ("ingestd-prod", "a", "${STAGE}")


def test_a_variable_may_stand_for_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS", "500")
    assert parse("pipeline: {batch_events_max: '${EVENTS}'}").pipeline.batch_events_max == 500


@pytest.mark.parametrize("value", ["0x_", "1" * 5000])
def test_a_variable_that_only_looks_like_a_number_does_not_fit(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS", value)
    assert paths_of("pipeline: {batch_events_max: '${EVENTS}'}") == ["pipeline.batch_events_max"]


@pytest.mark.parametrize("value", ["5", "0x_", "yes", "null", "1e3", "x # y", "'q'", "", "@home", "*x", "a: [", "a: b"])
def test_a_variable_in_a_text_is_taken_as_it_is(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALUE", value)
    assert parse("kafka: {group_id: '${VALUE}'}").kafka.group_id == value


@pytest.mark.parametrize("text", ["kafka: ${VALUE}", "${VALUE}"])
def test_a_variable_cannot_change_the_structure(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALUE", "{group_id: other}" if ":" in text.replace("${VALUE}", "") else "{kafka: {}}")
    assert problems_of(text)


def test_what_a_variable_brings_is_not_replaced_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTER", "${INNER}")
    monkeypatch.setenv("INNER", "secret")
    assert parse("kafka: {group_id: 'a-${OUTER}'}").kafka.group_id == "a-${INNER}"


def test_variables_that_are_not_set_are_all_named_with_the_key() -> None:
    first, second = problems_of("kafka: {group_id: '${NOT_SET_1}', topics: {logs: 'a-${NOT_SET_2}'}}")[:2]
    assert (first.path, second.path) == ("kafka.group_id", "kafka.topics.logs")
    assert "NOT_SET_1" in first.what and "NOT_SET_2" in second.what


def test_a_variable_of_which_nothing_is_known_is_reported_once() -> None:
    assert paths_of("pipeline: {batch_events_max: '${NOT_SET_1}'}") == ["pipeline.batch_events_max"]


def test_variables_in_keys_and_comments_are_left_alone() -> None:
    assert parse("# ${NOT_SET}\nkafka: {producer_options: {'${NOT_SET}': a}}").kafka.producer_options == {
        "${NOT_SET}": "a"
    }


# Finding the file, and secrets.


def test_the_file_is_looked_for_in_the_documented_order(
    bare_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    etc, here, env, given = (bare_environment / name for name in ("etc.yaml", "config.yaml", "env.yaml", "given.yaml"))
    seen = []
    for path in (etc, here, env, given):
        path.write_text("{}")
        if path is env:
            monkeypatch.setenv("INGESTD_CONFIG", str(env))
        seen.append(find(str(given) if path is given else None).resolve())
    assert seen == [etc, here, env, given]


def test_a_named_file_that_is_missing_is_not_replaced_by_another(bare_environment: Path) -> None:
    (bare_environment / "config.yaml").write_text("{}")
    with pytest.raises(ConfigError, match="missing.yaml"):
        load("missing.yaml")


def test_no_file_at_all_says_where_it_was_looked_for(bare_environment: Path) -> None:
    with pytest.raises(ConfigError, match="etc.yaml"):
        load()


def test_a_file_that_is_not_utf8_is_a_problem_and_no_traceback(bare_environment: Path) -> None:
    path = bare_environment / "config.yaml"
    path.write_bytes(b"kafka: {group_id: \xff}")
    with pytest.raises(ConfigError):
        load()


def test_a_file_that_may_not_be_read_is_a_problem_and_no_traceback(
    bare_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare_environment / "config.yaml").write_text("{}")

    def refuse(*_arguments: object, **_options: object) -> str:
        raise PermissionError(13, "Permission denied", "config.yaml")

    # Not chmod: root reads everything.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError, match="Permission denied"):
        load()


def test_the_error_names_the_file(bare_environment: Path) -> None:
    path = bare_environment / "config.yaml"
    path.write_text("kaffka: {}")
    with pytest.raises(ConfigError) as caught:
        load(str(path))
    assert caught.value.source == str(path)


def test_a_secret_is_read_from_the_credentials_folder_without_its_line_end(
    bare_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare_environment / "password").write_text(" pass word \r\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(bare_environment))
    assert read_secret("password") == " pass word "
    assert secret_path("/etc/keys/password") == Path("/etc/keys/password")


# All of it.


def test_a_config_of_all_defaults_written_out_is_the_default_config() -> None:
    assert parse(msgspec.json.encode(Config()).decode()) == Config()
