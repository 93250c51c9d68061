"""Without an extra: the client library works, and everything else says the one command that it needs."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from ingestd.errors import EXTRA_OF
from tests.support.base_install import BaseInstall, base_dependencies
from tests.support.paths import ROOT

PROGRAM = ROOT / "tests" / "support" / "base_program.py"


@pytest.fixture(scope="module")
def install(tmp_path_factory: pytest.TempPathFactory) -> BaseInstall:
    return BaseInstall(tmp_path_factory.mktemp("base") / "venv")


def test_a_service_that_publishes_installs_two_packages():
    assert sorted(base_dependencies()) == ["confluent-kafka", "msgspec"]


def test_a_program_publishes_and_consumes_with_the_base_dependencies_alone(install: BaseInstall):
    done = install.run(str(PROGRAM))
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize("words", [[], ["--version"], ["--help"], ["run"], ["demo"], ["no-such-verb"]], ids=" ".join)
def test_the_command_line_says_which_command_installs_it(install: BaseInstall, words: list[str]):
    done = install.run("-m", "ingestd", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "ingestd: the command line needs click, which is not installed: pip install 'ingestd[daemon]'\n"
    )


@pytest.mark.parametrize("name", ["EventStore", "AsyncEventStore"])
def test_looking_up_says_which_command_installs_it(install: BaseInstall, name: str):
    done = install.run("-c", f"import ingestd.client\ntry: ingestd.client.{name}\nexcept ImportError as e: print(e)")
    assert done.stdout == "looking up events needs redis, which is not installed: pip install 'ingestd[lookup]'\n"


def test_reading_a_config_file_says_which_command_installs_it(install: BaseInstall):
    program = "from ingestd.config.loading import parse\ntry: parse('')\nexcept ImportError as e: print(e)"
    done = install.run("-c", program)
    assert done.stdout == "reading a config file needs PyYAML, which is not installed: pip install 'ingestd[config]'\n"


def run_without(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line where everything but one module is installed."""
    program = f"import sys; sys.modules[{module!r}] = None; from ingestd.__main__ import main; main()"
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("module", "verb"),
    [("uvloop", "run"), ("aiohttp", "run"), ("prometheus_client", "run"), ("rich", "top"), ("redis", "events")],
)
def test_a_verb_whose_package_is_missing_says_which_command_installs_it(module: str, verb: str, tmp_path: Path):
    config = tmp_path / "config.yaml"
    config.write_text("kafka: {brokers: ['127.0.0.1:1']}\nhttp: {listen: null}\n")
    words = [verb, "-c", str(config)] if verb == "run" else [verb, "--help"]
    done = run_without(module, *words)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("ingestd: ") and line.endswith("pip install 'ingestd[daemon]'")


def test_a_module_that_no_extra_brings_is_not_said_to_come_by_one():
    done = run_without("ingestd.config", "validate")
    assert done.returncode == 1 and "ModuleNotFoundError" in done.stderr and "pip install" not in done.stderr


def test_every_package_of_an_extra_has_a_line_in_the_table():
    required = [
        line for line in metadata.requires("ingestd") or [] if re.search(r"extra == .(lookup|config|daemon)", line)
    ]
    packages = {re.split(r"[^A-Za-z0-9._-]", line)[0] for line in required} - {"ingestd"}
    assert {package.lower() for package, _ in EXTRA_OF.values()} == packages
