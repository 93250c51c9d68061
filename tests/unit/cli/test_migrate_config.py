"""Old configs in; new ones out that `validate` takes, without a password, and a list of what was left out."""

from pathlib import Path

import pytest
import yaml

from ingestd import cli
from ingestd.config.checks import check
from ingestd.config.loading import parse

OLD = """
server: {port: 8080, read_timeout: 30s}
kafka:
  brokers: ["kafka-1:9092", "kafka-2"]
  group_id: crypto-pipeline
  topics:
    raw_data: crypto.raw
    processed_data: crypto.processed
    alerts: observability.alerts
    archive: crypto.archive
  batch_size: 100
redis: {address: "cache:6380", password: "s3cret$$", db: 2, pool_size: 10}
observability:
  jaeger: {endpoint: "http://jaeger:14268"}
  event_streaming:
    enabled: true
    correlation_id_header: X-Request-ID
    service_name: crypto
    trace_sampling_rate: 0.25
logging: {level: WARN, format: text, output: stdout}
database: {dsn: "postgres://me:other-s3cret@db/x"}
"""


class Done:
    """The exit code, the new text and the lines on stderr of one run."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        with pytest.raises(SystemExit) as caught:
            cli.main(["migrate-config", *words])
        self.code = caught.value.code
        self.out, self.err = capsys.readouterr()
        self.left_out = [line.split()[2].rstrip(":") for line in self.err.splitlines() if line.startswith("left out")]


@pytest.fixture
def migrate(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def run(text: str, *words: str) -> Done:
        path = tmp_path / "old.yaml"
        path.write_text(text)
        return Done(capsys, *words, str(path))

    return run


def test_an_old_config_becomes_a_new_one_that_has_no_problem(migrate):
    done = migrate(OLD)
    config = parse(done.out)
    assert done.code == 0 and check(config) == []
    assert config.kafka.brokers == ("kafka-1:9092", "kafka-2:9092")
    assert config.kafka.group_id == "crypto-pipeline"
    assert config.input_topics() == ["observability.events", "crypto.raw", "crypto.processed"]
    assert config.redis.url == "redis://cache:6380/2"
    streaming = config.observability.event_streaming
    assert (streaming.correlation_id_header, streaming.service_name) == ("X-Request-ID", "crypto")
    assert streaming.trace_sampling_rate == 0.25
    assert (config.logging.level, config.logging.format) == ("warning", "plain")


def test_what_was_left_out_is_listed_without_its_values(migrate):
    done = migrate(OLD)
    assert done.left_out == [
        "server.port",
        "server.read_timeout",
        "kafka.topics.archive",
        "kafka.batch_size",
        "redis.pool_size",
        "observability.jaeger.endpoint",
        "observability.event_streaming.enabled",
        "logging.output",
        "database.dsn",
    ]
    assert "s3cret" not in done.err


def test_a_password_is_a_file_and_the_command_that_writes_it(migrate):
    done = migrate(OLD, "--secrets", "/run/secrets/")
    assert "s3cret" not in done.out
    assert parse(done.out).redis.password_file == "/run/secrets/redis-password"
    assert "(umask 077; ingestd migrate-config --secret redis.password " in done.err
    assert done.err.count("> /run/secrets/redis-password") == 1
    assert migrate(OLD, "--secret", "redis.password").out == "s3cret$$"
    assert migrate(OLD, "--secret", "database.dsn").code == 1


@pytest.mark.parametrize(
    ("redis", "url", "password_file"),
    [
        ("address: localhost:6379, password: ''", "redis://localhost:6379/0", None),
        ("address: ':7000'", "redis://localhost:7000/0", None),
        ("address: cache", "redis://cache:6379/0", None),
        ("address: '[::1]:7000', db: 1", "redis://[::1]:7000/1", None),
        ("host: h, port: 7000, database: 3", "redis://h:7000/3", None),
        ("address: 'rediss://u:p%40w@h:1/4'", "rediss://h:1/4", "/etc/ingestd/redis-password"),
        ("url: 'redis://h:1', db: 5", "redis://h:1/5", None),
    ],
)
def test_every_form_of_a_redis_address_is_one_url(migrate, redis: str, url: str, password_file: str | None):
    done = migrate(f"redis: {{{redis}}}")
    config = parse(done.out)
    assert (config.redis.url, config.redis.password_file, done.code) == (url, password_file, 0)
    assert check(config) == [] and "p@w" not in done.out + done.err


def test_variables_stay_variables(migrate, monkeypatch: pytest.MonkeyPatch):
    done = migrate("kafka: {brokers: '${BROKER_A},b:1'}\nredis: {address: '${REDIS}', password: '${PW}'}")
    assert yaml.safe_load(done.out)["kafka"]["brokers"] == ["${BROKER_A}", "b:1"]
    assert 'printf %s "${PW}"' in done.err and "the environment has no BROKER_A" in done.err and done.code == 0
    monkeypatch.setenv("BROKER_A", "a:1")
    monkeypatch.setenv("REDIS", "r:1")
    config = parse(done.out)
    assert config.kafka.brokers == ("a:1", "b:1") and config.redis.url == "redis://r:1/0"


def test_a_value_that_does_not_fit_is_left_out_and_the_rest_stays(migrate):
    done = migrate("kafka: {group_id: [a], brokers: a:1}\npipeline: {batch_events_max: many-s3cret}")
    assert done.left_out == ["kafka.group_id", "pipeline.batch_events_max"] and "s3cret" not in done.err
    assert parse(done.out).kafka.brokers == ("a:1",)


def test_what_makes_no_sense_together_is_to_be_mended(migrate):
    done = migrate("kafka: {topics: {raw_data: observability.logs}}")
    assert done.code == 1 and "to mend   kafka.topics.raw_data" in done.err


@pytest.mark.parametrize("text", ["a: [", "just words", "password: !!int s3cret", "password: 's3cret\n b: ]"])
def test_what_is_no_config_is_said_without_showing_it(migrate, text: str):
    done = migrate(text)
    assert done.code == 1 and done.out == "" and "old.yaml" in done.err and "s3cret" not in done.err


def test_a_file_that_is_there_is_not_written_over(migrate, tmp_path: Path):
    target = tmp_path / "new.yaml"
    assert migrate(OLD, "-o", str(target)).code == 0 and check(parse(target.read_text())) == []
    assert migrate("{}", "-o", str(target)).code == 1 and "crypto.raw" in target.read_text()
