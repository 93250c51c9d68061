"""Unit tests of librdkafka's options. In: configs. Out: two dicts, held to what librdkafka itself accepts."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import cimpl

from ingestd.config import kafka_consumers, kafka_producers
from ingestd.config.checks import check
from ingestd.config.kafka_connection import admin_options, message_bytes_max, service_connection_options
from ingestd.config.kafka_consumers import (
    MIB,
    client_consumer_options,
    compare_options,
    daemon_consumer_options,
    ensure_client_consumer_options,
    held_bytes_max,
    record_time_options,
    refused_consumer_options,
)
from ingestd.config.kafka_producers import (
    client_dead_letter_options,
    client_message_producer_options,
    client_producer_options,
    daemon_producer_options,
    daemon_single_record_options,
    refused_producer_options,
)
from ingestd.config.loading import parse
from ingestd.config.schema import Config, KafkaConfig
from ingestd.errors import Problem

# No broker listens there, and none is needed: librdkafka checks its options before it dials.
NOWHERE = "127.0.0.1:1"
CONF_UNKNOWN = -2  # RD_KAFKA_CONF_UNKNOWN


def config_of(text: str) -> Config:
    config = parse(text)
    assert not check(config)
    return config


def open_and_close(config: Config) -> None:
    """Raises KafkaException for a name, a value or a combination that librdkafka refuses."""
    quiet = {"bootstrap.servers": NOWHERE, "log_level": "0"}
    confluent_kafka.Consumer(daemon_consumer_options(config, "test") | quiet).close()
    for options in (daemon_producer_options, daemon_single_record_options):
        confluent_kafka.Producer(options(config, "test") | quiet).purge()


CONFIGS = (
    "",
    "kafka: {group_protocol: consumer, group_instance_id: one, rack: a}",
    "kafka: {group_instance_id: one}",
    "pipeline: {memory_limit_mib: 32, event_bytes_max: 1024}",
    "pipeline: {memory_limit_mib: 4096, event_bytes_max: 67108864}",
    "pipeline: {memory_limit_mib: 65536}",
    "pipeline: {memory_limit_mib: 1048576}",
    "pipeline: {batch_events_max: 100000, in_flight_events_max: 10000000}",
    "pipeline: {commit_interval_ms: 60000}",
    "kafka: {security: {protocol: ssl}}",
)


@pytest.mark.parametrize("text", CONFIGS)
def test_librdkafka_accepts_what_a_sound_config_becomes(text: str) -> None:
    open_and_close(config_of(text))


# What "nothing lost" rests on.


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("enable.auto.offset.store", "false"),
        ("enable.auto.commit", "true"),
        ("auto.commit.interval.ms", "1000"),
        ("auto.offset.reset", "error"),
        ("fetch.queue.backoff.ms", "5"),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("group.id", "ingestd"),
        ("bootstrap.servers", "localhost:9092"),
        ("client.id", "one"),
    ],
)
def test_the_consumer_stores_by_hand_and_never_skips(key: str, value: str) -> None:
    assert daemon_consumer_options(Config(), "one")[key] == value


def test_transactions_that_were_aborted_are_not_read() -> None:
    # librdkafka's default is read_committed, so leaving it out is as good.
    assert daemon_consumer_options(Config(), "one").get("isolation.level", "read_committed") == "read_committed"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("max.in.flight.requests.per.connection", "5"),
        ("message.timeout.ms", "0"),
        ("partitioner", "murmur2_random"),
        ("linger.ms", "5"),
        ("batch.size", "1000000"),
        ("compression.type", "lz4"),
        ("message.max.bytes", str(1048576 + 65536)),
    ],
)
def test_the_producer_waits_for_all_and_for_ever(key: str, value: str) -> None:
    assert daemon_producer_options(Config(), "one")[key] == value


def test_a_refused_batch_is_sent_again_one_record_a_request() -> None:
    options = daemon_single_record_options(config_of("kafka: {producer_options: {linger.ms: 500}}"), "one")
    assert (options["batch.num.messages"], options["linger.ms"]) == ("1", "0")
    assert options["acks"] == "all" and options["enable.idempotence"] == "true"


def test_the_new_protocol_has_no_strategy_and_no_session_of_its_own() -> None:
    options = daemon_consumer_options(config_of("kafka: {group_protocol: consumer}"), "one")
    assert options["group.protocol"] == "consumer"
    assert not options.keys() & {"partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms"}


def test_the_commit_interval_is_the_configured_one() -> None:
    options = daemon_consumer_options(config_of("pipeline: {commit_interval_ms: 250}"), "one")
    assert options["auto.commit.interval.ms"] == "250"


def test_names_of_the_group_member_are_passed_on_when_given() -> None:
    given = daemon_consumer_options(config_of("kafka: {group_instance_id: one, rack: a}"), "id")
    assert (given["group.instance.id"], given["client.rack"]) == ("one", "a")
    assert not daemon_consumer_options(Config(), "id").keys() & {"group.instance.id", "client.rack"}


# Memory.


@pytest.mark.parametrize("limit_mib", [32, 192, 1024])
def test_prefetch_with_its_overshoot_and_what_is_held_stay_in_the_limit(limit_mib: int) -> None:
    config = config_of(f"pipeline: {{memory_limit_mib: {limit_mib}, event_bytes_max: 100000}}")
    options = daemon_consumer_options(config, "one")
    prefetch_bytes = int(options["queued.max.messages.kbytes"]) * 1024
    overshoot_bytes = int(options["fetch.max.bytes"])
    assert prefetch_bytes + overshoot_bytes + held_bytes_max(config) <= limit_mib * MIB


def test_the_largest_event_can_be_fetched_and_sent() -> None:
    config = config_of("pipeline: {event_bytes_max: 33554432, memory_limit_mib: 256}")
    options = daemon_consumer_options(config, "one")
    assert int(options["fetch.max.bytes"]) >= message_bytes_max(config)
    # A partition's share of a fetch may be smaller: the broker gives at least one batch (KIP-74).
    assert int(options["max.partition.fetch.bytes"]) > 0
    assert int(daemon_producer_options(config, "one")["message.max.bytes"]) == message_bytes_max(config)


def test_one_partition_may_not_fetch_more_than_all_together() -> None:
    for text in CONFIGS:
        options = daemon_consumer_options(config_of(text), "one")
        assert int(options["max.partition.fetch.bytes"]) <= int(options["fetch.max.bytes"])


def test_the_producer_queue_holds_what_may_be_in_flight() -> None:
    config = config_of("pipeline: {in_flight_events_max: 300000}")
    assert int(daemon_producer_options(config, "one")["queue.buffering.max.messages"]) >= 300000


# Security.


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("options_of", [daemon_consumer_options, daemon_producer_options])
def test_secrets_are_read_from_the_credentials_folder(
    options_of: Callable[[Config, str], dict[str, str]], credentials: Path
) -> None:
    (credentials / "login").write_text("pass\n")
    (credentials / "key").write_text("open\n")
    config = config_of("""
        kafka: {security: {protocol: sasl_ssl, sasl_mechanism: SCRAM-SHA-512, sasl_username: me,
                           sasl_password_file: login, key_password_file: key}}
    """)
    options = options_of(config, "one")
    assert options["security.protocol"] == "sasl_ssl"
    assert options["sasl.mechanism"] == "SCRAM-SHA-512"
    assert (options["sasl.username"], options["sasl.password"]) == ("me", "pass")
    assert options["ssl.key.password"] == "open"


def test_certificates_too_are_relative_to_the_credentials_folder(credentials: Path) -> None:
    text = "kafka: {security: {protocol: ssl, ca_file: ca.pem, cert_file: cert.pem, key_file: /etc/key.pem}}"
    options = daemon_consumer_options(config_of(text), "one")
    assert options["ssl.ca.location"] == str(credentials / "ca.pem")
    assert options["ssl.certificate.location"] == str(credentials / "cert.pem")
    assert options["ssl.key.location"] == "/etc/key.pem"


def test_nothing_is_set_for_what_was_not_given() -> None:
    options = daemon_consumer_options(Config(), "one")
    assert not [key for key in options if key.startswith(("ssl.", "sasl."))]


# The user's own.


def refused_options(kafka: KafkaConfig) -> list[Problem]:
    return refused_consumer_options(kafka) + refused_producer_options(kafka)


def test_options_of_the_user_win_and_stay_on_their_side() -> None:
    config = config_of("kafka: {consumer_options: {fetch.wait.max.ms: 50}, producer_options: {linger.ms: 5}}")
    consumer, producer = daemon_consumer_options(config, "one"), daemon_producer_options(config, "one")
    assert consumer["fetch.wait.max.ms"] == "50" and "fetch.wait.max.ms" not in producer
    assert producer["linger.ms"] == "5" and "linger.ms" not in consumer


@pytest.mark.parametrize(
    ("section", "key"),
    [
        *(("consumer_options", key) for key in kafka_consumers.REFUSED_FOR_DAEMON),
        *(("producer_options", key) for key in kafka_producers.REFUSED_FOR_DAEMON),
    ],
)
def test_an_option_that_would_break_a_promise_is_refused_with_its_reason(section: str, key: str) -> None:
    (problem,) = refused_options(parse(f"kafka: {{{section}: {{{key}: x}}}}").kafka)
    assert problem.path == f"kafka.{section}.{key}"
    assert problem.mend


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        # No report ever comes for a record that arrived: its batch would wait for ever.
        ("producer_options", "delivery.report.only.error", "true"),
        # Later records before earlier ones: a trace would not stay in order.
        ("producer_options", "queuing.strategy", "lifo"),
        # Beyond the share of memory_limit_mib.
        ("consumer_options", "fetch.max.bytes", "2000000000"),
        # Offsets in a file, where the group does not see them.
        ("consumer_options", "offset.store.method", "file"),
    ],
)
def test_an_option_that_would_stop_lose_or_hide_is_refused_too(section: str, key: str, value: str) -> None:
    problems = check(parse(f"kafka: {{{section}: {{{key}: '{value}'}}}}"))
    assert [problem.path for problem in problems] == [f"kafka.{section}.{key}"]


@pytest.mark.parametrize("key", ["partitioner", "acks", "message.timeout.ms"])
def test_what_is_forbidden_on_one_side_is_not_forbidden_by_name_on_the_other(key: str) -> None:
    assert not refused_options(parse(f"kafka: {{consumer_options: {{{key}: x}}}}").kafka)


def test_every_forbidden_name_is_one_that_librdkafka_knows() -> None:
    """Else it would be a slip of the pen, and the option it means would pass."""
    library = ctypes.CDLL(cimpl.__file__)
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    library.rd_kafka_conf_destroy.argtypes = (ctypes.c_void_p,)
    library.rd_kafka_conf_set.argtypes = (ctypes.c_void_p, *[ctypes.c_char_p] * 3, ctypes.c_size_t)
    text = ctypes.create_string_buffer(512)
    for name in (*kafka_consumers.REFUSED_FOR_DAEMON, *kafka_producers.REFUSED_FOR_DAEMON):
        conf = library.rd_kafka_conf_new()
        answer = library.rd_kafka_conf_set(conf, name.encode(), b"no value", text, len(text))
        library.rd_kafka_conf_destroy(conf)
        assert answer != CONF_UNKNOWN, name


# One home: what is promised is promised of every handle.


def every_producer(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of each producer that there is; `given`: the user's own."""
    config = Config(kafka=KafkaConfig(producer_options=given))
    keywords = {"linger_ms": 5, "compression": "lz4", "queue_events_max": 10, "queue_mib_max": 1}
    return {
        "daemon": daemon_producer_options(config, "one"),
        "single record": daemon_single_record_options(config, "one"),
        "client": client_producer_options(
            NOWHERE, "one", delivery_timeout_s=1, event_bytes_max=1000, given=given, **keywords
        ),
        "dead letters": client_dead_letter_options(NOWHERE, given),
        "messages": client_message_producer_options(NOWHERE, 1.0, given),
    }


@pytest.mark.parametrize("name", every_producer({}))
def test_every_producer_keeps_the_promises_and_librdkafka_takes_its_options(name: str) -> None:
    options = every_producer({})[name]
    wanted = {"acks": "all", "enable.idempotence": "true", "partitioner": "murmur2_random"}
    assert wanted.items() <= kafka_producers.PROMISED.items() <= options.items()
    assert int(options["message.timeout.ms"]) >= 0
    confluent_kafka.Producer(options | {"bootstrap.servers": NOWHERE, "log_level": "0"}).purge()


@pytest.mark.parametrize("name", ["client", "messages"])
def test_a_program_may_not_take_a_promise_back(name: str) -> None:
    for promise in kafka_producers.PROMISES:
        with pytest.raises(ValueError, match=promise.replace(".", r"\.")):
            every_producer({promise: "x"})[name]


def test_dead_letters_keep_the_promises_whatever_the_consumer_was_given() -> None:
    given = {"acks": "1", "partitioner": "random", "fetch.wait.max.ms": 5, "client.rack": "a"}
    options = client_dead_letter_options(NOWHERE, given)
    assert (options["acks"], options["partitioner"]) == ("all", "murmur2_random")
    assert not options.keys() & {"fetch.wait.max.ms", "client.rack"}


def refresh(_: str) -> tuple[str, float]:
    return "token", 0.0


REACH = {
    "security.protocol": "sasl_ssl",
    "sasl.mechanism": "OAUTHBEARER",
    "ssl.endpoint.identification.algorithm": "none",
    "https.ca.location": "/ca.pem",
    "client.id": "me",
    "oauth_cb": refresh,
}


def test_the_producer_of_dead_letters_reaches_the_brokers_as_its_consumer_does() -> None:
    consumer, producer = client_consumer_options(NOWHERE, "g", 1.0, REACH), client_dead_letter_options(NOWHERE, REACH)
    assert {name: producer[name] for name in REACH} == {name: consumer[name] for name in REACH} == REACH


@pytest.mark.parametrize("side", ["consumer_options", "producer_options"])
def test_what_the_user_wrote_to_reach_the_brokers_holds_for_every_handle_beside_the_daemons(side: str) -> None:
    reach = {
        "enable.ssl.certificate.verification": "false",
        "ssl.endpoint.identification.algorithm": "none",
        "sasl.oauthbearer.method": "oidc",
        "https.ca.location": "/ca.pem",
        "receive.message.max.bytes": "200000000",
        "metadata.recovery.strategy": "rebootstrap",
    }
    kafka = KafkaConfig(**{side: reach | {"check.crcs": "true"}})
    for options in (admin_options(kafka), record_time_options(kafka, "one", 1000), compare_options(kafka)):
        assert reach.items() <= options.items() and "check.crcs" not in options


def test_a_service_reaches_the_brokers_as_the_daemons_producer_does() -> None:
    options = {"https.ca.location": "/ca.pem", "linger.ms": "7"}
    found = service_connection_options(KafkaConfig(producer_options=options))
    assert found == {"security.protocol": "plaintext", "https.ca.location": "/ca.pem"}


@pytest.mark.parametrize("name", kafka_consumers.REFUSED_FOR_CLIENT)
def test_a_consumers_program_may_not_take_a_promise_back(name: str) -> None:
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        ensure_client_consumer_options({name: "x"})


def test_every_member_of_a_group_stores_by_hand_and_rebalances_without_giving_everything_back() -> None:
    for options in (daemon_consumer_options(Config(), "one"), client_consumer_options(NOWHERE, "g", 1.0, {})):
        assert kafka_consumers.PROMISED.items() <= options.items()
        assert options["partition.assignment.strategy"] == "cooperative-sticky"
    new = client_consumer_options(NOWHERE, "g", 1.0, {"group.protocol": "consumer"})
    assert "partition.assignment.strategy" not in new
