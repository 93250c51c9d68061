"""The unit files: clean, hardened, and alike."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.systemd_service import UNITS, InstalledLab

EXPOSURE_MAX = 1.2
# What an instance has of its own.
DIFFER = ("Description=", "ExecStart=", "ExecReload=", "Environment=", "SyslogIdentifier=", "RuntimeDirectory")


def settings(name: str) -> list[str]:
    lines = (UNITS / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", *DIFFER))]


def test_an_instance_differs_from_the_single_unit_only_in_its_config_and_its_folder():
    assert settings("ingestd.service") == settings("ingestd@.service")


def test_the_start_is_not_checked_by_a_command_of_its_own_and_proc_is_whole():
    for name in ("ingestd.service", "ingestd@.service"):
        given = [line for line in (UNITS / name).read_text().splitlines() if not line.startswith("#")]
        assert not any(line.startswith(("ExecStartPre=", "ProcSubset=")) for line in given)
        assert "Type=notify" in given


@pytest.mark.systemd
@pytest.mark.real
def test_systemd_finds_nothing_to_say_about_the_units(installed: InstalledLab):
    for name in ("ingestd.service", "ingestd@.service"):
        done = installed.lab.run("systemd-analyze", "verify", f"/etc/systemd/system/{name}")
        assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.systemd
@pytest.mark.real
def test_the_units_expose_little(tmp_path: Path):
    for name in ("ingestd.service", "ingestd@.service"):
        # Under another name: a drop-in of this machine does not count.
        copy = tmp_path / name.replace("ingestd", "measured").replace("@", "@one")
        copy.write_text((UNITS / name).read_text())
        out = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--no-pager", str(copy)],
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
        ).stdout
        exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", out)[1])
        print(f"{name}: {exposure}")
        assert exposure <= EXPOSURE_MAX, out
