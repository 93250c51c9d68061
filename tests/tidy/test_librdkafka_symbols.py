"""What the native edge takes from librdkafka is what it uses: no function, constant or error code stands there idle."""

import ast
import re
from pathlib import Path

from ingestd._librdkafka import FUNCTION_NAMES, ErrorCode, error_name
from tests.support.paths import ROOT

DAEMON = ROOT / "daemon"
EDGE = [DAEMON / "_librdkafka.pyx", *sorted((DAEMON / "librdkafka").glob("*.pxi"))]


def code_of(path: Path) -> str:
    """Without comments and docstrings."""
    return re.sub(r"#.*", "", re.sub(r'""".*?"""', "", path.read_text(), flags=re.S))


def code_of_the_edge() -> str:
    return "\n".join(map(code_of, EDGE))


def test_every_function_in_the_table_is_called():
    called = set(re.findall(r"\bf\.(rd_kafka_\w+)", code_of_the_edge()))
    assert set(FUNCTION_NAMES) == called
    assert len(FUNCTION_NAMES) == len(set(FUNCTION_NAMES))


def test_every_constant_of_the_edge_is_read():
    code = code_of_the_edge()
    constants = re.findall(r"^    ([A-Z][A-Z0-9_]+) = -?\d\w* *$", code, re.M)
    assert "VTYPE_RKT" in constants and "GROUPS_MAX" in constants
    assert [name for name in constants if len(re.findall(rf"\b{name}\b", code)) < 2] == []


def test_every_c_import_of_the_edge_is_used():
    code = code_of_the_edge()
    imports = re.findall(r"^from [\w.]+ cimport (?:\(([^)]*)\)|(.*))", code, re.M)
    names = [name.strip() for pair in imports for name in "".join(pair).split(",") if name.strip()]
    assert "memcpy" in names
    assert [name for name in names if len(re.findall(rf"\b{name}\b", code)) < 2] == []


def test_every_error_code_is_asked_for():
    python = "\n".join(path.read_text() for path in DAEMON.rglob("*.py"))
    code = code_of_the_edge()
    idle = {
        each.name
        for each in ErrorCode
        if f"ErrorCode.{each.name}" not in python and len(re.findall(rf"\bERR_{each.name}\b", code)) < 3
    }
    assert idle == set()


def test_an_error_code_bears_the_name_that_librdkafka_gives_it():
    assert {each.name: error_name(each).removeprefix("_") for each in ErrorCode} == {e.name: e.name for e in ErrorCode}


def test_the_stub_has_every_error_code():
    stub = (DAEMON / "_librdkafka.pyi").read_text().partition("class ErrorCode")[2].partition("\nclass ")[0]
    assert re.findall(r"^    ([A-Z_]+) = ", stub, re.M) == [each.name for each in ErrorCode]


def test_error_codes_of_librdkafka_stand_as_numbers_in_one_place_only():
    codes = {-each.value for each in ErrorCode if each < 0}
    found = []
    for path in DAEMON.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant) and node.operand.value in codes:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    for path in EDGE:
        if path.name != "errors.pxi":
            numbers = re.findall(r"(?<!\w)-(\d+)", code_of(path))
            found += [f"{path.name}: -{number}" for number in numbers if int(number) in codes]
    assert found == []
