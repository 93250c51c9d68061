"""Makes the virtual environments that the make targets use, and the lock file requirements.lock.

    python3 tools/environment.py locked .venv          what requirements.lock names; this checkout, editable
    python3 tools/environment.py newest .venv-newest   the newest releases that pyproject.toml allows
    python3 tools/environment.py oldest .venv-oldest   the oldest releases of what pyproject.toml names
    python3 tools/environment.py differences .venv-newest
    python3 tools/environment.py wheel-tools build/wheels/tools   what tools/wheels.lock names, for make wheels
    python3 tools/environment.py lock [--upgrade]

It runs before anything is installed, so it needs the standard library only. uv does the work where it is on the PATH,
else pip. `newest` and `oldest` install a source archive, as a user of the package does, and not this checkout.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
WHEELS_LOCK = ROOT / "tools" / "wheels.lock"
OLDEST_PYTHON = "3.11"
LOCK_HEADER = f"""\
# What every make target installs: made by `make lock` from pyproject.toml, for Python {OLDEST_PYTHON} and newer, x86_64
# and aarch64. `make lock UPGRADE=1` takes the newest releases; without it, what is here stays.
"""
WHEELS_LOCK_HEADER = "# What `make wheels` works with: made by `make lock` from tools/wheels.in.\n"


class StepFailed(Exception):
    """A command of a step failed. Its text is what the command printed."""


def step(what: str, *words: str | Path, cwd: Path = ROOT) -> None:
    """One command, its name before it runs and the seconds after. A terminal sees the seconds go by."""
    shows_time = sys.stdout.isatty()
    print(f"{what} ...", end=" " if shows_time else "\n", flush=True)
    started_s = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([*map(str, words)], cwd=cwd, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        while True:
            try:
                code = process.wait(1)
                break
            except subprocess.TimeoutExpired:
                if shows_time:
                    print(f"\r{what} ... {time.monotonic() - started_s:.0f} s", end="", flush=True)
        seconds = f"{time.monotonic() - started_s:.0f} s"
        print(f"\r{what} ... {seconds}" if shows_time else f"  done in {seconds}", flush=True)
        if code != 0:
            output.seek(0)
            raise StepFailed(f"{' '.join(map(str, words))}\n{output.read().decode(errors='replace')}\nexit code {code}")


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked_versions() -> dict[str, str]:
    """Name -> version. A name may be there twice, for different Pythons: then the last one counts."""
    return dict(re.findall(r"^([\w.-]+)==([^ ;\\]+)", LOCK.read_text(), re.M))


def make_venv(folder: Path, python: str) -> None:
    if (folder / "bin" / "python").exists():
        return
    uv = shutil.which("uv")
    step(f"making {folder.name}", *([uv, "venv", "--python", python] if uv else [python, "-m", "venv"]), folder)


def install(folder: Path, what: str, *words: str | Path) -> None:
    python, uv = folder / "bin" / "python", shutil.which("uv")
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    step(what, *([uv, "pip", "install", "--python", python] if uv else pip), *words)


def locked(folder: Path, python: str) -> None:
    if not (folder / "bin" / "python").exists():
        print("The first build takes two to five minutes.", flush=True)
    make_venv(folder, python)
    count = len(locked_versions())
    install(folder, f"installing {count} packages of {LOCK.name}", "--require-hashes", "-r", LOCK)
    # uv takes an editable package that is there for up to date whatever its sources are.
    again = ["--reinstall-package", "ingestd"] if shutil.which("uv") else []
    flags = ["--no-deps", "--no-build-isolation", *again]
    install(folder, "compiling the two extension modules", *flags, "--editable", ROOT)


def requirements() -> list[str]:
    """What the package and its extras ask for, without the extras that name others of the package."""
    tables = project()["project"]
    rows = [*tables["dependencies"], *(row for rows in tables["optional-dependencies"].values() for row in rows)]
    return sorted({row for row in rows if not row.startswith("ingestd[")})


def unlocked(folder: Path, python: str, resolution: list[str]) -> None:
    """Everything without the lock: requirements first, those of the build too, then the package as a source archive."""
    shutil.rmtree(folder, ignore_errors=True)
    make_venv(folder, python)
    build = project()["build-system"]["requires"]
    install(folder, "installing what pyproject.toml names", *resolution, *build, *requirements())
    with tempfile.TemporaryDirectory() as name:
        code = f"from setuptools import build_meta; build_meta.build_sdist({name!r})"
        step("making a source archive", ROOT / ".venv" / "bin" / "python", "-c", code)
        (archive,) = Path(name).glob("*.tar.gz")
        install(folder, "compiling and installing it", "--no-deps", "--no-build-isolation", archive)


def newest(folder: Path, python: str) -> None:
    unlocked(folder, python, [])
    differences(folder)


def oldest(folder: Path, python: str) -> None:
    os.environ["PATH"] = f"{Path(uv_command()).parent}:{os.environ['PATH']}"  # pip has no such resolution
    unlocked(folder, OLDEST_PYTHON, ["--resolution", "lowest-direct"])
    differences(folder)


def differences(folder: Path, python: str = "") -> None:
    """The releases that an environment has and the lock has not."""
    code = "import importlib.metadata as m\nfor d in m.distributions(): print(d.metadata['Name'], d.version)"
    words = [folder / "bin" / "python", "-c", code]
    lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    there = {name.lower().replace("_", "-"): version for name, version in map(str.split, lines)}
    tested = locked_versions()
    changed = [name for name in sorted(tested) if there.get(name, tested[name]) != tested[name]]
    rows = [f"  {name} {tested[name]} -> {there[name]}" for name in changed]
    print("\n".join([f"What differs from {LOCK.name} in {folder.name}:", *(rows or ["  nothing"])]), flush=True)


def wheel_tools(folder: Path, python: str) -> None:
    make_venv(folder, python)
    install(folder, "installing the tools of make wheels", "--require-hashes", "-r", WHEELS_LOCK)


def uv_command() -> str:
    """uv of the PATH, else one from PyPI in .cache/uv."""
    found, own = shutil.which("uv"), ROOT / ".cache" / "uv"
    if found:
        return found
    if not (own / "bin" / "uv").exists():
        step("installing uv into .cache/uv", sys.executable, "-m", "venv", own)
        step("  from PyPI", own / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "uv")
    return str(own / "bin" / "uv")


def lock(upgrade: bool) -> None:
    """Takes the requirements of the package, of all its extras and groups, and those of its build."""
    groups = [word for group in project().get("dependency-groups", {}) for word in ("--group", group)]
    build = "\n".join(project()["build-system"]["requires"])
    write_lock(LOCK, LOCK_HEADER, ["pyproject.toml", "-", "--all-extras", *groups], upgrade, build)
    write_lock(WHEELS_LOCK, WHEELS_LOCK_HEADER, [str(WHEELS_LOCK.with_suffix(".in"))], upgrade)
    print(f"{LOCK.name}: {len(locked_versions())} packages")


def write_lock(file: Path, header: str, sources: list[str], upgrade: bool, standard_input: str = "") -> None:
    words = [uv_command(), "pip", "compile", *sources]
    words += ["--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes", "--no-header"]
    words += ["--quiet", "--output-file", str(file), *(["--upgrade"] if upgrade else [])]
    subprocess.run(words, cwd=ROOT, input=standard_input, text=True, check=True)
    file.write_text(header + file.read_text())


def main(action: str, *words: str) -> int:
    actions = {"locked": locked, "newest": newest, "oldest": oldest, "differences": differences}
    actions["wheel-tools"] = wheel_tools
    try:
        if action == "lock":
            lock(upgrade=words == ("--upgrade",))
        else:
            actions[action](ROOT / words[0], words[1] if len(words) > 1 else sys.executable)
    except (StepFailed, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
