"""`ingestd validate --offline`. In: a config. Out: every problem with its key and mend, and an exit code."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from ingestd.cli import validate
from ingestd.cli.shared.output import Output
from ingestd.cli.validate import Findings
from ingestd.config import librdkafka_check
from ingestd.config.checks import check
from ingestd.config.keys import fields
from ingestd.config.librdkafka_check import Library
from ingestd.config.loading import parse
from ingestd.config.schema import Config, SecurityConfig
from ingestd.errors import ConfigError
from tests.support.command import Done, config_file, ingestd

LOGIN = "protocol: sasl_plaintext, sasl_mechanism: PLAIN, sasl_username: me"


def offline(folder: Path, text: str) -> Done:
    return ingestd("validate", "--offline", "--json", "-c", config_file(folder, text))


def problems(folder: Path, text: str) -> dict[str, dict[str, str]]:
    """By key path; the exit code has to agree."""
    done = offline(folder, text)
    found = {row["path"]: row for row in done.json["problems"]}
    assert len(found) == len(done.json["problems"]), "one problem was told twice"
    assert done.code == (78 if found else 0)
    return found


def test_an_empty_config_is_fine_and_what_was_checked_is_said(tmp_path: Path) -> None:
    done = offline(tmp_path, "")
    assert done.code == 0
    assert done.json["problems"] == done.json["warnings"] == done.json["notes"] == []
    assert any("options by librdkafka" in line for line in done.json["checked"])


@pytest.mark.parametrize("section", ["consumer_options", "producer_options"])
def test_an_option_that_librdkafka_does_not_know_has_its_nearest_beside_it(tmp_path: Path, section: str) -> None:
    found = problems(tmp_path, f"kafka: {{{section}: {{socket.keepalive.enabel: true}}}}")
    row = found[f"kafka.{section}.socket.keepalive.enabel"]
    assert row["mend"] == "did you mean socket.keepalive.enable?"


def test_an_option_that_is_like_no_other_is_to_be_left_out(tmp_path: Path) -> None:
    found = problems(tmp_path, "kafka: {consumer_options: {zzzzzz: 1}}")
    assert found["kafka.consumer_options.zzzzzz"]["mend"] == "leave it out"


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [("compression.type", "lz5", "lz4, zstd"), ("linger.ms", "soon", "0 .. 900000")],
)
def test_a_wrong_value_has_the_allowed_ones_beside_it(tmp_path: Path, option: str, value: str, allowed: str) -> None:
    found = problems(tmp_path, f"kafka: {{producer_options: {{{option}: {value}}}}}")
    assert allowed in found[f"kafka.producer_options.{option}"]["mend"]


def test_options_that_do_not_go_together_are_found_at_one_that_was_written(tmp_path: Path) -> None:
    found = problems(tmp_path, "kafka: {consumer_options: {max.poll.interval.ms: 500}}")
    assert "session.timeout.ms" in found["kafka.consumer_options.max.poll.interval.ms"]["what"]


def test_an_option_that_only_code_can_set_is_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, "kafka: {producer_options: {dr_msg_cb: x}}")
    assert found["kafka.producer_options.dr_msg_cb"]["mend"] == "leave it out"


@pytest.mark.parametrize(
    ("kafka", "path"),
    [
        ("consumer_options: {max.poll.interval.ms: 500}", "consumer_options.max.poll.interval.ms"),
        (
            "consumer_options: {fetch.min.bytes: 1, session.timeout.ms: 400000, max.poll.interval.ms: 300000}",
            "consumer_options.session.timeout.ms",
        ),
        (
            "group_protocol: consumer, consumer_options: {session.timeout.ms: 4000}",
            "consumer_options.session.timeout.ms",
        ),
        ("consumer_options: {ssl.ca.pem: x}, security: {protocol: ssl}", "consumer_options.ssl.ca.pem"),
        (
            "consumer_options: {security.protocol: sasl_ssl, sasl.mechanism: OAUTHBEARER, "
            "sasl.oauthbearer.method: oidc}",
            "consumer_options.sasl.oauthbearer.method",
        ),
    ],
)
def test_the_key_that_librdkafka_stumbles_over_is_found_whatever_its_sentence_says(
    kafka: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trial(library: Library, kind: int, options: dict[str, str]) -> str | None:
        return None if real(library, kind, options) is None else "worded otherwise"

    real = Library.trial
    monkeypatch.setattr(Library, "trial", trial)
    found = librdkafka_check.check(parse(f"kafka: {{{kafka}}}")).problems
    assert (f"kafka.{path}", "worded otherwise") in [(problem.path, problem.what) for problem in found]


def test_an_option_on_the_wrong_side_is_a_warning_with_the_right_place(tmp_path: Path) -> None:
    text = (
        "kafka: {consumer_options: {linger.ms: 5}, producer_options: {fetch.min.bytes: 1, socket.nagle.disable: true}}"
    )
    done = offline(tmp_path, text)
    assert (done.code, done.json["problems"]) == (0, [])
    assert {row["path"]: row["mend"].split(",")[0] for row in done.json["warnings"]} == {
        "kafka.consumer_options.linger.ms": "move it to kafka.producer_options",
        "kafka.producer_options.fetch.min.bytes": "move it to kafka.consumer_options",
    }


def test_options_that_would_break_a_promise_are_refused_with_the_reason_and_hide_no_other(tmp_path: Path) -> None:
    text = """
        kafka:
          consumer_options: {auto.offset.reset: latest, fetch.min.bytes: none}
          producer_options: {acks: 1, enable.idempotence: false}
    """
    found = problems(tmp_path, text)
    assert set(found) == {
        "kafka.consumer_options.auto.offset.reset",
        "kafka.consumer_options.fetch.min.bytes",
        "kafka.producer_options.acks",
        "kafka.producer_options.enable.idempotence",
    }
    assert found["kafka.producer_options.acks"]["what"] == "may not be set"
    assert "kafka.auto_offset_reset" in found["kafka.consumer_options.auto.offset.reset"]["mend"]


def test_what_both_handles_share_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "not-a-certificate").write_text("x")
    found = problems(tmp_path, f"kafka: {{security: {{protocol: ssl, ca_file: {tmp_path}/not-a-certificate}}}}")
    assert set(found) == {"kafka.security.ca_file"}


def test_problems_of_every_kind_are_told_at_once(tmp_path: Path) -> None:
    text = """
        kafka:
          input_topics: ["^incoming|alerts"]
          security: {protocol: sasl_plaintext, sasl_mechanism: PLAIN, sasl_username: me, sasl_password_file: /not/there}
          consumer_options: {fetch.wait.max.mss: 5, group.id: other}
        redis: {password_file: /nor/there, wait_replicas: -1}
        rules: [{name: a, action: route}]
    """
    found = problems(tmp_path, text)
    assert set(found) == {
        "kafka.input_topics",
        "kafka.security.sasl_password_file",
        "kafka.consumer_options.fetch.wait.max.mss",
        "kafka.consumer_options.group.id",
        "redis.password_file",
        "redis.wait_replicas",
        "rules[0].topics",
    }
    assert "'observability.alerts'" in found["kafka.input_topics"]["what"]
    assert "/not/there" in found["kafka.security.sasl_password_file"]["what"]


def test_problems_of_form_end_the_reading_and_are_told_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, "kafka: {grup_id: x}\npipeline: {batch_events_max: many}\n")
    assert set(found) == {"kafka.grup_id", "pipeline.batch_events_max"}
    assert "group_id" in found["kafka.grup_id"]["mend"]


def test_a_password_file_that_is_no_text_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"\xff\xfe\x00")
    found = problems(tmp_path, f"kafka: {{security: {{{LOGIN}, sasl_password_file: {tmp_path}/password}}}}")
    assert set(found) == {"kafka.security.sasl_password_file"}


def test_an_empty_password_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("\n")
    text = (
        f"kafka: {{security: {{{LOGIN}, sasl_password_file: {tmp_path}/password}}}}\n"
        f"redis: {{password_file: {tmp_path}/password}}"
    )
    assert set(problems(tmp_path, text)) == {"kafka.security.sasl_password_file", "redis.password_file"}


def test_a_secret_file_is_looked_for_where_systemd_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "redis: {password_file: redis}"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert "$CREDENTIALS_DIRECTORY" in problems(tmp_path, text)["redis.password_file"]["mend"]
    (tmp_path / "redis").write_text("secret\n")
    assert problems(tmp_path, text) == {}


def test_for_people_each_problem_is_one_line_and_the_last_line_counts(tmp_path: Path) -> None:
    path = config_file(tmp_path, "kafka: {consumer_options: {linger.ms: 5}}\nredis: {wait_replicas: -1}\n")
    done = ingestd("validate", "--offline", "-c", path)
    assert done.code == 78
    lines = done.out.splitlines()
    assert f"✗ {path}:2:24: redis.wait_replicas: -1 is not from 0 to 16 (it is a number of replicas)" in lines
    assert any(line.startswith(f"! {path}:1:39: kafka.consumer_options.linger.ms: ") for line in lines)
    assert lines[-1] == f"{path}: 1 problem, 1 warning"
    assert ingestd("validate", "--offline", "-c", config_file(tmp_path, "")).out.splitlines()[-1] == f"{path}: fine"


def test_a_terminal_without_utf_8_gets_words_for_marks(tmp_path: Path) -> None:
    findings = Findings()
    findings.fault("redis.url", "is away")
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with contextlib.redirect_stdout(out):
        findings.show(Output(), "c.yaml")
    out.flush()
    out.seek(0)
    assert out.read().splitlines() == ["problem redis.url: is away", "c.yaml: 1 problem"]


def test_the_config_s_problems_outweigh_the_cluster_s() -> None:
    findings = Findings()
    assert findings.exit_code == 0
    findings.warning("a", "warns")
    findings.note("a", "notes")
    assert findings.exit_code == 0
    findings.fault("kafka.brokers[0]", "is away")
    assert findings.exit_code == 1
    findings.problems += check(parse("redis: {wait_replicas: -1}"))
    assert findings.exit_code == 78
    assert [row["path"] for row in findings.as_dict()["problems"]] == ["redis.wait_replicas", "kafka.brokers[0]"]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("redis: {wait_replicas: -1}", {"kafka"}),
        ("kafka: {brokers: [localhost]}", {"redis"}),
        ("kafka: {consumer_options: {socket.timeout.ms: soon}}", {"redis"}),
        ("kafka: {security: {protocol: ssl, ca_file: /not/there}}", {"redis"}),
        ("kafka: {producer_options: {acks: 1}}", {"kafka", "redis"}),
        ("rules: [{name: a, action: route}]", {"kafka", "redis"}),
    ],
)
def test_only_what_the_config_lets_be_asked_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, asked: set[str]
) -> None:
    """A cluster that is asked with wrong options does not answer, and that would be a second, false problem."""
    seen: set[str] = set()
    monkeypatch.setattr(validate, "check_kafka", lambda *_: seen.add("kafka"))
    monkeypatch.setattr(validate, "check_redis", lambda *_: seen.add("redis"))
    done = ingestd("validate", "--json", "-c", config_file(tmp_path, text))
    assert (done.code, seen) == (78, asked)
    assert {row["path"] for row in done.json["notes"]} == {"kafka", "redis"} - asked


def test_offline_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "check_online", lambda *_: pytest.fail("it was asked"))
    assert ingestd("validate", "--offline", "-c", config_file(tmp_path, "")).code == 0


@pytest.mark.parametrize("value", ["4MiB", "1s", "10k", "5e2", "010", "0x10"])
def test_a_number_that_librdkafka_would_read_in_part_is_refused(tmp_path: Path, value: str) -> None:
    found = problems(tmp_path, f"kafka: {{producer_options: {{socket.timeout.ms: {value}}}}}")
    assert list(found) == ["kafka.producer_options.socket.timeout.ms"]


MECHANISMS = [word for arm in get_args(fields(SecurityConfig)[5].kind) for word in get_args(arm)]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_each_offered_mechanism_is_in_this_build_of_librdkafka(tmp_path: Path, mechanism: str) -> None:
    (tmp_path / "p").write_text("password")
    login = f"protocol: sasl_plaintext, sasl_username: me, sasl_password_file: {tmp_path}/p"
    assert not problems(tmp_path, f"kafka: {{security: {{{login}, sasl_mechanism: {mechanism}}}}}")


def test_a_mechanism_that_the_build_lacks_is_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, "kafka: {security: {protocol: sasl_plaintext, sasl_mechanism: GSSAPI}}")
    assert list(found) == ["kafka.security.sasl_mechanism"] and len(MECHANISMS) == 3


def test_each_problem_has_its_place_in_json_too(tmp_path: Path) -> None:
    path = config_file(tmp_path, "redis:\n  wait_replicas: -1\n")
    (row,) = ingestd("validate", "--offline", "--json", "-c", path).json["problems"]
    assert row["place"] == f"{path}:2:18"


def test_places_that_this_machine_lacks_are_found_by_the_full_check(tmp_path: Path) -> None:
    findings = Findings()
    config = parse("http: {listen: 'no-such-host.invalid:1'}\ncontrol: {socket: /no/such/folder/control.sock}")
    validate.check_places(config, findings)
    assert [problem.path for problem in findings.problems] == ["http.listen", "control.socket"]
    validate.check_places(parse(f"control: {{socket: {tmp_path}/s}}"), findings := Findings())
    assert not findings.problems


def test_a_config_from_standard_input_is_named_so() -> None:
    done = ingestd("validate", "--offline", "-c", "-", stdin=b"redis: {wait_replicas: -1}\n")
    assert done.code == 78 and "(standard input):1:24: redis.wait_replicas" in done.out


@pytest.mark.parametrize("text", ["kafka: {consumer_options: {socket.timeout.ms: soon}}", "a: !!int abc", "- 5"])
def test_run_ends_with_78_for_all_that_validate_finds(tmp_path: Path, text: str) -> None:
    """And not with 1, after which systemd would start it again and again."""
    path = config_file(tmp_path, text)
    done = ingestd("run", "-c", path)
    assert done.code == ingestd("validate", "--offline", "-c", path).code == 78
    assert f"{path}:1:" in done.err and "Traceback" not in done.err


def test_what_run_can_read_only_once_is_not_read_again_at_a_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(config: Config, log: Any, books_file: Any, reread: Callable[[], Config]) -> int:
        assert config.kafka.group_id == "g"
        with pytest.raises(ConfigError, match="reload needs a file"):
            reread()
        return 0

    monkeypatch.setattr("ingestd.app.serve", serve)
    assert ingestd("run", "-c", "-", stdin=b"kafka: {group_id: g}").code == 0
