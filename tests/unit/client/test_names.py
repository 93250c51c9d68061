"""`ingestd.client` and what it costs to import: names, their modules, and what a publishing program has loaded."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ingestd.client as client

SOURCE = Path(client.__file__)
MODULES = client._MODULES


def test_the_list_of_names_is_sorted_and_is_that_of_the_table():
    assert client.__all__ == sorted(MODULES) == list(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_a_name_is_found_where_the_table_says(name: str):
    assert getattr(client, name).__module__ == f"ingestd.client.{MODULES[name]}"
    assert name in dir(client)


def test_type_checkers_see_the_same_names():
    """Whoever adds a name adds it to the table, to `__all__` and to the imports under TYPE_CHECKING."""
    (block,) = [node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.If)]
    seen = {alias.asname: node.module for node in block.body for alias in node.names}  # type: ignore[attr-defined]
    assert seen == MODULES


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Prodcer"):
        client.Prodcer  # noqa: B018


def loaded(code: str) -> set[str]:
    program = f"{code}\nimport sys; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", program], text=True, timeout=60).split())


def test_importing_it_loads_nothing_else():
    assert {name for name in loaded("import ingestd.client") if name.startswith("ingestd")} == {
        "ingestd",
        "ingestd.client",
    }


def test_publishing_needs_no_redis_no_config_and_no_event_loop():
    found = loaded(
        "from ingestd.client import Producer, AsyncProducer, LogHandler, bind; Producer('localhost:1', 't', 's')"
    )
    assert not found & {"ingestd.config.schema", "redis", "yaml", "uvloop", "rich"}
