"""What the native edge takes from librdkafka is what it uses: no function, constant or error code stands there idle."""

import re

from ingestd._librdkafka import FUNCTION_NAMES
from tests.support.paths import ROOT

EDGE = [ROOT / "daemon" / "_librdkafka.pyx", *sorted((ROOT / "daemon" / "librdkafka").glob("*.pxi"))]


def code_of_the_edge() -> str:
    """Without comments."""
    return "\n".join(re.sub(r"#.*", "", path.read_text()) for path in EDGE)


def test_every_function_in_the_table_is_called():
    called = set(re.findall(r"\bf\.(rd_kafka_\w+)", code_of_the_edge()))
    assert set(FUNCTION_NAMES) == called
    assert len(FUNCTION_NAMES) == len(set(FUNCTION_NAMES))


def test_every_constant_of_the_edge_is_read():
    code = code_of_the_edge()
    constants = re.findall(r"^    ([A-Z][A-Z0-9_]+) = -?\w+ *$", code, re.M)
    assert "VTYPE_RKT" in constants and "GROUPS_MAX" in constants
    assert [name for name in constants if len(re.findall(rf"\b{name}\b", code)) < 2] == []


def test_every_c_import_of_the_edge_is_used():
    code = code_of_the_edge()
    imports = re.findall(r"^from [\w.]+ cimport (?:\(([^)]*)\)|(.*))", code, re.M)
    names = [name.strip() for pair in imports for name in "".join(pair).split(",") if name.strip()]
    assert "memcpy" in names
    assert [name for name in names if len(re.findall(rf"\b{name}\b", code)) < 2] == []
