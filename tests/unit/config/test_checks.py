"""Unit tests of the config's sense. In: YAML text. Out: every problem, with its key path and what to do."""

import pytest

from ingestd.config.checks import RULE_TOPICS_MAX, check, ensure, never_inputs
from ingestd.config.keys import Range, keys
from ingestd.config.loading import parse
from ingestd.config.schema import Config
from ingestd.errors import ConfigError, Problem


def problems_of(text: str) -> list[Problem]:
    return check(parse(text))


def paths_of(text: str) -> list[str]:
    return [problem.path for problem in problems_of(text)]


def rule(rest: str) -> str:
    return f"rules: [{{name: r, {rest}}}]"


def test_the_defaults_have_no_problem() -> None:
    assert check(Config()) == []


def test_every_problem_of_sense_is_named_at_once() -> None:
    text = """
        kafka: {brokers: [], input_topics: [observability.logs], consumer_options: {enable.auto.commit: false}}
        redis: {url: "http://localhost"}
        pipeline: {batch_events_max: 0, dead_letter: {max_ratio: 2}}
        rules: [{name: a, action: copy}, {name: a, action: sample}]
    """
    assert set(paths_of(text)) == {
        "kafka.brokers",
        "kafka.input_topics",
        "kafka.consumer_options.enable.auto.commit",
        "redis.url",
        "pipeline.batch_events_max",
        "pipeline.dead_letter.max_ratio",
        "rules[0].topics",
        "rules[1].name",
        "rules[1].rate",
    }


def test_ensure_raises_with_all_of_them_and_the_file() -> None:
    with pytest.raises(ConfigError) as caught:
        ensure(parse("redis: {wait_replicas: -1}\nhealth: {interval_s: 0}"), "here.yaml")
    assert [problem.path for problem in caught.value.problems] == ["redis.wait_replicas", "health.interval_s"]
    assert caught.value.source == "here.yaml"


RANGES = [(path, field.range) for path, field in keys(Config) if field.range]


def with_value(path: str, value: float) -> str:
    sections = path.split(".")
    return "{" + ": {".join(sections) + f": {value}" + "}" * len(sections)


@pytest.mark.parametrize(("path", "range"), RANGES, ids=[path for path, _ in RANGES])
def test_a_number_outside_its_range_is_refused(path: str, range: Range) -> None:
    def is_refused(value: float) -> bool:
        return (path, range.why) in [(problem.path, problem.mend) for problem in problems_of(with_value(path, value))]

    step = 0.001 if range.unit == "share" else 1
    assert is_refused(range.least - step) and is_refused(range.most + step)
    assert is_refused(range.least) == range.above and not is_refused(range.most)


@pytest.mark.parametrize("rate", ["-0.1", "1.1"])
def test_a_sampling_rate_is_from_0_to_1(rate: str) -> None:
    path = "observability.event_streaming.trace_sampling_rate"
    assert paths_of(f"observability: {{event_streaming: {{trace_sampling_rate: {rate}}}}}") == [path]


@pytest.mark.parametrize("key", ["window_s", "min_events"])
@pytest.mark.parametrize("value", [0, -1])
def test_the_window_of_a_flood_is_a_positive_number(key: str, value: int) -> None:
    assert paths_of(f"pipeline: {{dead_letter: {{{key}: {value}}}}}") == [f"pipeline.dead_letter.{key}"]


def test_in_flight_holds_at_least_one_batch() -> None:
    assert paths_of("pipeline: {batch_events_max: 100, in_flight_events_max: 99}") == ["pipeline.in_flight_events_max"]
    assert not paths_of("pipeline: {batch_events_max: 100, in_flight_events_max: 100}")


def test_memory_holds_at_least_one_of_the_largest_events() -> None:
    assert paths_of("pipeline: {memory_limit_mib: 64, event_bytes_max: 33554432}") == ["pipeline.memory_limit_mib"]


# Kafka.


@pytest.mark.parametrize("broker", ["localhost", "http://a:9092", "a:b", "a:9092,b:9092", "a b:1", "a:0", "a:65536"])
def test_a_broker_is_a_host_and_a_port(broker: str) -> None:
    assert paths_of(f"kafka: {{brokers: ['{broker}']}}") == ["kafka.brokers[0]"]


@pytest.mark.parametrize("broker", ["a:9092", "10.0.0.1:1", "[::1]:9092", "a-b.example.org:65535"])
def test_names_addresses_and_ipv6_are_brokers(broker: str) -> None:
    assert not paths_of(f"kafka: {{brokers: ['{broker}']}}")


def test_a_sasl_mechanism_needs_a_sasl_protocol() -> None:
    login = "sasl_mechanism: PLAIN, sasl_username: me, sasl_password_file: login"
    assert paths_of(f"kafka: {{security: {{protocol: ssl, {login}}}}}") == ["kafka.security.protocol"]


@pytest.mark.parametrize("key", ["sasl_username", "sasl_password_file"])
def test_a_password_login_needs_name_and_password(key: str) -> None:
    other = {"sasl_username": "sasl_password_file", "sasl_password_file": "sasl_username"}[key]
    text = f"kafka: {{security: {{protocol: sasl_ssl, sasl_mechanism: PLAIN, {other}: x}}}}"
    assert paths_of(text) == [f"kafka.security.{key}"]


@pytest.mark.parametrize(
    "key", ["partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms", "group.protocol.type"]
)
def test_what_the_new_protocol_leaves_to_the_broker_is_refused_with_it(key: str) -> None:
    text = f"kafka: {{group_protocol: consumer, consumer_options: {{{key}: '6000'}}}}"
    assert paths_of(text) == [f"kafka.consumer_options.{key}"]


# Inputs that are outputs.


@pytest.mark.parametrize(
    ("inputs", "output"),
    [
        ("[observability.logs]", "observability.logs"),
        ("[in, observability.dead_letter]", "observability.dead_letter"),
        ("['^observability[.]h.*']", "observability.health"),
        ("['^.*alerts$']", "observability.alerts"),
        ("['^incoming|metrics']", "observability.metrics"),
        ("['^observability[.][[:alpha:]]races']", "observability.traces"),
    ],
)
def test_an_input_that_is_an_output_is_a_loop(inputs: str, output: str) -> None:
    (problem,) = problems_of(f"kafka: {{input_topics: {inputs}}}")
    assert problem.path.startswith("kafka.input_topics")
    assert output in problem.what and problem.mend


def test_the_default_input_is_looked_at_too() -> None:
    assert paths_of("kafka: {topics: {logs: observability.events}}")


def test_an_input_that_a_rule_routes_to_is_a_loop() -> None:
    text = "kafka: {input_topics: [in]}\n" + rule("action: route, topics: [in]")
    (problem,) = problems_of(text)
    assert "rules[0].topics" in problem.what


def test_an_expression_matches_from_the_beginning_but_not_to_the_end() -> None:
    assert len(paths_of("kafka: {input_topics: ['^observability.t']}")) == 1
    assert not paths_of("kafka: {input_topics: ['^observability.e']}")
    assert not paths_of("kafka: {input_topics: ['^logs']}")


def test_a_typed_topic_may_be_read_only_to_be_indexed() -> None:
    assert not paths_of("kafka: {index_only_topics: [observability.logs]}")


def test_dead_letters_are_never_read() -> None:
    assert paths_of("kafka: {index_only_topics: [observability.dead_letter]}")


def test_a_topic_is_either_input_or_only_indexed() -> None:
    text = "kafka: {input_topics: [observability.logs], index_only_topics: [observability.logs]}"
    assert paths_of(text)


@pytest.mark.parametrize("text", ["^(a", "^(?!observability)"])
def test_an_expression_that_librdkafka_does_not_take_is_named(text: str) -> None:
    (problem,) = problems_of(f"kafka: {{input_topics: ['{text}']}}")
    assert text in problem.what and "POSIX" in problem.mend


def test_what_is_only_indexed_is_named_one_by_one() -> None:
    """By an expression it would be read, and produced again as any other input."""
    assert paths_of("kafka: {index_only_topics: ['^other[.]']}") == ["kafka.index_only_topics"]


def test_the_default_input_is_not_only_indexed_as_well() -> None:
    assert paths_of("kafka: {index_only_topics: [observability.events]}") == ["kafka.index_only_topics"]
    assert not paths_of("kafka: {input_topics: [], index_only_topics: [observability.events]}")


def test_outputs_that_may_not_be_read_are_known_with_their_keys() -> None:
    text = "kafka: {index_only_topics: [observability.logs, observability.dead_letter]}\n"
    found = never_inputs(parse(text + rule("action: copy, topics: [copies, observability.alerts]")))
    assert found == {
        "observability.metrics": "kafka.topics.metrics",
        "observability.alerts": "kafka.topics.alerts",
        "observability.traces": "kafka.topics.traces",
        "observability.health": "kafka.topics.health_checks",
        "observability.dead_letter": "kafka.topics.dead_letter",
        "copies": "rules[0].topics",
    }


def test_no_input_at_all_is_a_problem() -> None:
    assert paths_of("kafka: {input_topics: []}") == ["kafka.input_topics"]


@pytest.mark.parametrize("name", ["a b", "", "a/b", "a" * 250, ".", ".."])
def test_a_name_that_kafka_does_not_take_is_refused_for_every_topic(name: str) -> None:
    assert paths_of(f"kafka: {{topics: {{logs: '{name}'}}}}") == ["kafka.topics.logs"]
    assert paths_of(f"kafka: {{input_topics: ['{name}']}}") == ["kafka.input_topics"]
    assert len(paths_of(rule(f"action: copy, topics: ['{name}']"))) == 1


def test_dead_letters_have_a_topic_of_their_own() -> None:
    assert paths_of("kafka: {topics: {dead_letter: observability.logs}}")


# Redis.


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret@localhost:6379",
        "redis://name:secret@localhost",
        "rediss://:se/cret@localhost",
        "redis://:s@cret@localhost/0",
        "redis://localhost/0?password=secret",
        "unix://:secret@/run/redis.sock",
        "http://:secret@localhost",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    problems = problems_of(f"redis: {{url: '{url}'}}")
    assert {problem.path for problem in problems} == {"redis.url"}
    told = " ".join(map(str, problems))
    assert "secret" not in told and "se/cret" not in told and "s@cret" not in told


def test_a_password_in_the_url_is_pointed_to_its_key() -> None:
    (problem,) = problems_of("redis: {url: 'redis://:secret@localhost'}")
    assert "redis.password_file" in problem.mend


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "localhost:6379",
        "",
        "redis://h:99999",
        "redis://h/x",
        "redis://h:port",
        "redis://h?db=x",
        "redis://h?socket_timeout=5",
        "rediss://h?ssl_cert_reqs=none",
    ],
)
def test_a_url_that_is_not_of_redis_is_refused(url: str) -> None:
    assert paths_of(f"redis: {{url: '{url}'}}") == ["redis.url"]


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "rediss://10.0.0.1:6380/2",
        "unix:///run/redis/redis.sock",
        "redis://[::1]:6379",
        "redis://h?db=3",
        "unix:///run/redis.sock?db=2",
        "redis://redis-cluster-ip.example.org:6379/0",
    ],
)
def test_hosts_sockets_and_tls_are_urls_of_redis(url: str) -> None:
    assert not paths_of(f"redis: {{url: '{url}'}}")


def test_redis_cluster_is_refused_by_name() -> None:
    problem = problems_of("redis: {url: 'redis+cluster://a:7000'}")[0]
    assert "luster" in problem.what


@pytest.mark.parametrize(
    "sentinel", ["{master: m, nodes: [a]}", "{master: m, nodes: []}", "{master: '', nodes: ['a:1']}"]
)
def test_a_sentinel_has_a_master_and_nodes_with_ports(sentinel: str) -> None:
    (path,) = paths_of(f"redis: {{sentinel: {sentinel}}}")
    assert path.startswith("redis.sentinel")


# Other sections.


@pytest.mark.parametrize(
    "listen", ["9464", "localhost", "127.0.0.1:http", "127.0.0.1:70000", "http://127.0.0.1:9464", ""]
)
def test_http_listens_on_a_host_with_a_port_or_a_socket_path(listen: str) -> None:
    assert paths_of(f"http: {{listen: '{listen}'}}") == ["http.listen"]


@pytest.mark.parametrize("listen", ["127.0.0.1:9464", "'[::1]:9464'", "localhost:1", "/run/ingestd/http.sock", "null"])
def test_http_may_be_an_address_a_socket_or_off(listen: str) -> None:
    assert not paths_of(f"http: {{listen: {listen}}}")


# Rules.


@pytest.mark.parametrize(
    ("rest", "path"),
    [
        ("action: route", "rules[0].topics"),
        ("action: copy, topics: []", "rules[0].topics"),
        ("action: drop, topics: [a]", "rules[0].topics"),
        ("action: sample", "rules[0].rate"),
        ("action: sample, rate: 1.5", "rules[0].rate"),
        ("action: keep, rate: 0.5", "rules[0].rate"),
        ("action: drop, match: {types: [logs]}", "rules[0].match.types"),
        ("action: drop, match: {types: [LOG]}", "rules[0].match.types"),
        ("action: drop, match: {levels: [loud]}", "rules[0].match.levels"),
        ("action: copy, topics: [observability.events]", "kafka.topics.observability_events"),
    ],
)
def test_a_rule_that_can_not_work_is_refused(rest: str, path: str) -> None:
    assert paths_of(rule(rest)) == [path]


@pytest.mark.parametrize(
    "rest",
    [
        "action: drop",
        "action: no_store",
        "action: sample, rate: 0",
        "action: sample, rate: 1",
        "action: route, topics: [a, observability.logs]",
        "action: drop, match: {types: [error], levels: [WARN, Critical]}",
    ],
)
def test_a_rule_that_works_has_no_problem(rest: str) -> None:
    assert not paths_of(rule(rest))


def test_topics_of_one_rule_are_limited() -> None:
    topics = ", ".join(f"t{index}" for index in range(RULE_TOPICS_MAX + 1))
    assert paths_of(rule(f"action: copy, topics: [{topics}]")) == ["rules[0].topics"]


def test_topics_that_several_rules_may_add_to_one_event_are_limited() -> None:
    """The fast path has room for so many topics an event; one more copy would be lost without a word."""
    rules = ", ".join(f"{{name: r{index}, action: copy, topics: [t{index}]}}" for index in range(RULE_TOPICS_MAX + 1))
    assert paths_of(f"rules: [{rules}]")


def test_two_rules_of_one_name_are_refused_and_the_second_is_pointed_at() -> None:
    assert paths_of("rules: [{name: a, action: keep}, {name: a, action: keep}]") == ["rules[1].name"]


def test_a_rule_without_a_name_is_refused() -> None:
    assert paths_of("rules: [{name: '', action: keep}]") == ["rules[0].name"]


# Old topics.


def old_topics(raw: str, processed: str = "null", rest: str = "") -> list[str]:
    return paths_of(f"kafka: {{topics: {{raw_data: '{raw}', processed_data: {processed}}}{rest}}}")


def test_old_topics_may_be_read_beside_the_new_one_and_alone() -> None:
    assert old_topics("crypto.raw", "crypto.processed") == []
    assert old_topics("crypto.raw", rest=", input_topics: []") == []


@pytest.mark.parametrize("topic", ["observability.events", "observability.logs", "^crypto.*", "a b"])
def test_an_old_topic_is_one_of_its_own(topic: str) -> None:
    assert set(old_topics(topic)) == {"kafka.topics.raw_data"}


def test_two_kinds_of_old_messages_need_two_topics() -> None:
    assert old_topics("crypto", "crypto") == ["kafka.topics.processed_data"]


def test_a_bad_name_is_reported_under_the_key_that_has_it() -> None:
    assert paths_of("kafka: {index_only_topics: ['a b']}") == ["kafka.index_only_topics"]
    assert paths_of("kafka: {topics: {observability_events: 'a b'}}") == ["kafka.topics.observability_events"]


@pytest.mark.parametrize("text", ["^" + "(" * 100_000, "^(((a{1,99}){1,99}){1,99})", "^" + "a" * 2000])
def test_an_expression_that_would_take_all_memory_is_refused(text: str) -> None:
    assert paths_of(f"kafka: {{input_topics: ['{text}']}}") == ["kafka.input_topics"]


def test_topics_of_all_rules_together_are_limited() -> None:
    rules = "".join(f"- {{name: r{n}, action: route, topics: [{', '.join(f't{n}-{m}' for m in range(30))}]}}\n"
                    for n in range(40))  # fmt: skip
    assert "rules" in paths_of(f"rules:\n{rules}")


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "a\u00ad\u2028b"])
def test_a_host_that_can_not_be_looked_up_is_refused_everywhere(host: str) -> None:
    assert paths_of(f"kafka: {{brokers: ['{host}:1']}}")
    assert paths_of(f"http: {{listen: '{host}:1'}}")
    assert paths_of(f"redis: {{sentinel: {{master: m, nodes: ['{host}:1']}}}}")
