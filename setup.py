"""Builds the two compiled modules. `INGESTD_DEBUG=1` compiles the invariant checks in and keeps the annotated HTML."""

import os
import re
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

DEBUG = os.environ.get("INGESTD_DEBUG") == "1"
# Python's own flags ask for debug information: with it a wheel is three times as large and takes twice as long to make.
COMPILE_ARGS = ["-O1", "-g"] if DEBUG else ["-O2", "-g0"]

# Cython finds the .pxd of `from ._abi cimport …` by the name of the package, in a folder named ingestd, and the sources
# are in daemon/: relative cimports are looked up so too (Cython 3.3). mypy and pyright follow the same link.
ALIAS_FOLDER = Path(__file__).parent / "build" / "cython"


def alias_package() -> str:
    ALIAS_FOLDER.mkdir(parents=True, exist_ok=True)
    alias = ALIAS_FOLDER / "ingestd"
    if not alias.is_symlink():
        alias.symlink_to(Path("..", "..", "daemon"), target_is_directory=True)
    return str(ALIAS_FOLDER)


def write_librdkafka_names() -> None:
    """FUNCTION_NAMES of _librdkafka, from the fields of functions_t: a call stands in one place."""
    text = Path("daemon/librdkafka/symbols.pxi").read_text()
    fields = text.partition("cdef struct functions_t:\n")[2].partition("\n\n")[0]
    lines = [f'    "{name}",\n' for name in re.findall(r"\(\*(\w+)\)", fields)]
    table = "".join(["# Made by setup.py from daemon/librdkafka/symbols.pxi.\nFUNCTION_NAMES = (\n", *lines, ")\n"])
    place = ALIAS_FOLDER / "librdkafka_names.pxi"
    if not place.is_file() or place.read_text() != table:
        place.write_text(table)


def extension(name: str) -> Extension:
    return Extension(
        f"ingestd.{name}",
        [f"daemon/{name}.pyx"],
        depends=sorted(str(path) for pattern in ("*.pxd", "*/*.pxi", "*/*.h") for path in Path("daemon").glob(pattern)),
        extra_compile_args=COMPILE_ARGS,
        define_macros=[("FASTPATH_DEBUG", "1" if DEBUG else "0")],
        include_dirs=["daemon"],
        libraries=["dl"],
    )


include_path = [alias_package()]
write_librdkafka_names()

setup(
    packages=["ingestd", *(f"ingestd.{name}" for name in find_packages("daemon"))],
    package_dir={"ingestd": "daemon"},
    # What MANIFEST.in takes into the source archive is for building; a wheel has no use for it.
    include_package_data=False,
    package_data={"ingestd": ["py.typed", "*.pyi"]},
    # The units and the config with every key, for who installs a wheel: PREFIX/share/ingestd.
    data_files=[
        ("share/ingestd", ["config.yaml"]),
        ("share/ingestd/systemd", sorted(map(str, Path("systemd").iterdir()))),
    ],
    ext_modules=cythonize(
        [extension("_fastpath"), extension("_librdkafka")],
        include_path=include_path,
        compiler_directives={"language_level": "3"},
        annotate=DEBUG,
        force=DEBUG,
    ),
)
