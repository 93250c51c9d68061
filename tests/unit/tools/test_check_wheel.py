"""What `make wheels` finds in a wheel that must not be there, or must."""

import zipfile
from pathlib import Path

import pytest

from tools.check_wheel import BYTES_MAX, content_problems

GOOD = {
    "ingestd/__init__.py": b"",
    "ingestd/client/__init__.py": b"",
    "ingestd/py.typed": b"",
    "ingestd/_fastpath.pyi": b"",
    "ingestd/_librdkafka.pyi": b"",
    "ingestd/_fastpath.cpython-311-x86_64-linux-gnu.so": b"\x7fELF .text .rodata",
    "ingestd/_librdkafka.cpython-311-x86_64-linux-gnu.so": b"\x7fELF .text .rodata",
    "ingestd-0.1.0.data/data/share/ingestd/config.yaml": b"",
    "ingestd-0.1.0.data/data/share/ingestd/systemd/ingestd.service": b"",
    "ingestd-0.1.0.dist-info/licenses/LICENSE": b"",
}
FASTPATH = "ingestd/_fastpath.cpython-311-x86_64-linux-gnu.so"


def problems(folder: Path, changed: dict[str, bytes | None]) -> list[str]:
    """Those of a good wheel in which some files are changed, or left out (None)."""
    wheel = folder / "ingestd-0.1.0-cp311-cp311-manylinux2014_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in (GOOD | changed).items():
            if text is not None:
                archive.writestr(name, text)
    return content_problems(wheel)


def test_a_good_wheel_has_no_problem(tmp_path: Path):
    assert problems(tmp_path, {}) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ingestd/_fastpath.pyx": b""}, "ingestd/_fastpath.pyx is a source for building"),
        ({"ingestd/fastpath/stops.h": b""}, "ingestd/fastpath/stops.h is a source for building"),
        ({"ingestd.libs/libz.so.1": b""}, "ingestd.libs would be installed beside ingestd"),
        ({"daemon/__init__.py": b""}, "daemon would be installed beside ingestd"),
        ({FASTPATH: None}, "ingestd/_fastpath.cpython- is missing"),
        ({"ingestd/py.typed": None}, "ingestd/py.typed is missing"),
        ({"ingestd-0.1.0.dist-info/licenses/LICENSE": None}, ".dist-info/licenses/LICENSE is missing"),
        ({FASTPATH: b"\x7fELF .text .debug_info"}, f"{FASTPATH} has .debug_info"),
        ({FASTPATH: b"\x7fELF .text .symtab"}, f"{FASTPATH} has .symtab"),
        ({"ingestd/large.py": bytes(BYTES_MAX)}, f"bytes are more than {BYTES_MAX}"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_wheel_is_named(tmp_path: Path, changed: dict[str, bytes | None], said: str):
    (found,) = problems(tmp_path, changed)
    assert found.endswith(said)
