"""Unit tests of the command line's frame. In: words. Out: an exit code, and on stderr what to do. No cluster."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from ingestd import __version__, cli
from ingestd.errors import ConfigError, IngestdError, Problem

EXIT_FAILED, EXIT_USAGE, EXIT_CONFIG, EXIT_INTERRUPTED = 1, 2, 78, 130


def exit_code_of(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(words))
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.fixture
def verb_that_raises(monkeypatch: pytest.MonkeyPatch):
    """Makes `ingestd run` raise what it is given."""

    def install(error: BaseException) -> None:
        @click.command("run")
        def command() -> None:
            raise error

        monkeypatch.setattr(cli.cli, "get_command", lambda _context, _name: command)

    return install


def test_help_names_every_verb_and_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of("--help") == 0
    told = capsys.readouterr().out
    for verb in cli.VERBS:
        assert verb in told


def test_help_loads_no_verb() -> None:
    """It is to be quick, and to work where the extensions were not built."""
    code = (
        "import sys\n"
        "from ingestd.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "print([name for name in ('confluent_kafka', 'redis', 'ingestd._fastpath') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_every_verb_that_help_names_can_be_called(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(verb, "--help") == 0
    assert "Usage: ingestd" in capsys.readouterr().out


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of("--version") == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("words", [["no-such-verb"], ["run", "--no-such-option"], []])
def test_words_that_are_not_understood_exit_2(words: list[str]) -> None:
    assert exit_code_of(*words) == EXIT_USAGE


def test_a_bad_config_exits_78_with_every_problem_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("kafka: {grup_id: x}\npipeline: {batch_events_max: many}\n")
    assert exit_code_of("run", "-c", str(path)) == EXIT_CONFIG
    out, err = capsys.readouterr()
    assert out == ""
    assert "kafka.grup_id" in err and "pipeline.batch_events_max" in err and "bad.yaml" in err
    assert "Traceback" not in err


def test_a_config_without_sense_exits_78_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text("kafka: {input_topics: [observability.logs]}\nredis: {wait_replicas: -1}\n")
    assert exit_code_of("run", "--config", str(path)) == EXIT_CONFIG
    err = capsys.readouterr().err
    assert "kafka.input_topics" in err and "redis.wait_replicas" in err


def test_the_config_of_the_environment_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "env.yaml"
    path.write_text("kaffka: {}\n")
    monkeypatch.setenv("INGESTD_CONFIG", str(path))
    assert exit_code_of("run") == EXIT_CONFIG
    assert "env.yaml" in capsys.readouterr().err


def test_a_config_that_is_missing_exits_78_and_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of("run", "-c", "not/there.yaml") == EXIT_CONFIG
    assert "not/there.yaml" in capsys.readouterr().err


def test_a_secret_file_that_is_missing_exits_78_with_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text(
        "kafka: {brokers: ['127.0.0.1:1'], security: {protocol: sasl_plaintext, sasl_mechanism: PLAIN,\n"
        "        sasl_username: me, sasl_password_file: /not/there}}\nhttp: {listen: null}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "ingestd", "run", "-c", str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == EXIT_CONFIG, done.stderr
    assert "kafka.security.sasl_password_file" in done.stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_exits_130_without_a_traceback(
    error: BaseException, verb_that_raises, capsys: pytest.CaptureFixture[str]
) -> None:
    verb_that_raises(error)
    assert exit_code_of("run") == EXIT_INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


def test_a_failure_on_purpose_exits_1_with_its_sentence(verb_that_raises, capsys: pytest.CaptureFixture[str]) -> None:
    verb_that_raises(IngestdError("the broker is away"))
    assert exit_code_of("run") == EXIT_FAILED
    assert "the broker is away" in capsys.readouterr().err


def test_problems_are_counted_and_stand_on_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [Problem("a.b", "is wrong", "mend it"), Problem("c", "is missing")]
    assert cli.report_config_error(ConfigError(problems, "x.yaml")) == EXIT_CONFIG
    first, *rest = capsys.readouterr().err.splitlines()
    assert "2 problems" in first and "x.yaml" in first
    assert [line.strip() for line in rest] == ["a.b: is wrong (mend it)", "c: is missing"]
