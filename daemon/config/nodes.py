"""What a YAML file holds before any key is known: mappings, lists, and scalars as the text that was written.

No scalar is guessed to be a number, a boolean or a date: the type of its key reads it, see `conversion`.
"""

from typing import Final, NamedTuple, TypeAlias

# Plain scalars that stand for "nothing"; in quotes they are words.
NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
SHOWN_CHARS: Final = 60


class Place(NamedTuple):
    """Where something stands in its file, counted from 1."""

    line: int
    column: int


class Scalar(NamedTuple):
    """`text` as it was written, without its quotes. `plain`: it had none."""

    text: str
    plain: bool
    place: Place

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in NULLS


class Sequence(NamedTuple):
    """A list."""

    items: "tuple[Node, ...]"
    place: Place


class Entry(NamedTuple):
    """A key of a mapping: where it stands, and its value."""

    key_place: Place
    value: "Node"

    @property
    def place(self) -> Place:
        """Of the value where that is one word, else of the key."""
        return self.value.place if isinstance(self.value, Scalar) else self.key_place


class Mapping(NamedTuple):
    """Keys in their order; those that `<<` brought come last."""

    entries: dict[str, Entry]
    place: Place


Node: TypeAlias = Scalar | Sequence | Mapping


def shown(node: Node) -> str:
    """A value in a message."""
    if isinstance(node, Scalar):
        return shortened(node.text) if node.plain and node.text else f"'{shortened(node.text)}'"
    return "a list" if isinstance(node, Sequence) else "a mapping"


def shortened(text: str, most_chars: int = SHOWN_CHARS) -> str:
    """A part of a text that fits into a message, on one line."""
    cut = text if len(text) <= most_chars else f"{text[:most_chars]}…"
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut)
