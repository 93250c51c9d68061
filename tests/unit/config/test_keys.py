"""Every key says on its field what it is: meaning, range and unit, and whether a reload may change it."""

from collections.abc import Iterator
from types import NoneType
from typing import get_args

import msgspec
import pytest

from ingestd.config import schema
from ingestd.config.keys import Field, Key, Range, Section, fields, keys, values
from ingestd.config.schema import Config

SECTIONS = sorted(
    (kind for kind in vars(schema).values() if isinstance(kind, type) and issubclass(kind, Section)),
    key=lambda kind: kind.__name__,
)
# How a name ends, and the unit that it has so.
UNITS = {"_s": "seconds", "_ms": "milliseconds", "_mib": "MiB", "bytes_max": "bytes", "events_max": "events"}


def every_field() -> Iterator[tuple[str, Field]]:
    """Also of those sections that stand only in lists or may be null."""
    for section in SECTIONS:
        yield from ((f"{section.__name__}.{field.name}", field) for field in fields(section) if field.section is None)


FIELDS = list(every_field())


@pytest.mark.parametrize("field", [field for _, field in FIELDS], ids=[name for name, _ in FIELDS])
def test_every_key_has_a_meaning_and_says_whether_a_reload_may_change_it(field: Field) -> None:
    assert isinstance(field.key, Key)
    assert field.key.meaning.endswith(".") and isinstance(field.key.reload, bool)


def is_number(field: Field) -> bool:
    return not {int, float}.isdisjoint({field.kind, *get_args(field.kind)} - {NoneType})


@pytest.mark.parametrize("field", [f for _, f in FIELDS if is_number(f)], ids=[n for n, f in FIELDS if is_number(f)])
def test_every_number_has_a_range_with_its_unit_and_the_unit_is_in_its_meaning(field: Field) -> None:
    assert isinstance(field.range, Range), "a number without a range"
    assert field.range.least < field.range.most and field.range.has(field.default) and field.range.why
    assert field.range.unit.lower() in field.key.meaning.lower()
    assert all(unit == field.range.unit for end, unit in UNITS.items() if field.name.endswith(end))


def test_only_numbers_have_ranges() -> None:
    assert [name for name, field in FIELDS if field.range and not is_number(field)] == []


def test_keys_name_every_leaf_once_and_with_its_default() -> None:
    assert [path for path, _ in keys(Config)] == [path for path, _, _ in values(Config())]
    assert len({path for path, _ in keys(Config)}) == len(list(keys(Config)))
    assert [path for path, field, value in values(Config()) if value != field.default] == []


def test_every_section_of_the_schema_is_part_of_the_config() -> None:
    def below(kind: type[msgspec.Struct]) -> Iterator[type]:
        yield kind
        for field in fields(kind):
            for arm in (field.kind, *get_args(field.kind)):
                if isinstance(arm, type) and issubclass(arm, Section):
                    yield from below(arm)

    assert set(below(Config)) == set(SECTIONS) - {Section}


def test_a_range_may_leave_out_its_least_value_and_never_has_nan() -> None:
    ratio = Range(0, 1, "share", "why", above=True)
    assert [value for value in (-1, 0, 0.1, 1, 1.1, float("nan")) if ratio.has(value)] == [0.1, 1]
    assert (str(ratio), str(Range(0, 1, "share", "why"))) == ("above 0 and up to 1", "from 0 to 1")
