"""Reads YAML to nodes: every scalar stays the text that was written, with its line and column.

Nothing is guessed and nothing is constructed, so a file can hold no surprise: tags are refused, aliases and nesting
are bounded. Anchors, aliases and merge keys (`<<: *name`) work.
"""

import re
from typing import Final, NamedTuple, NoReturn

from ..errors import ConfigError, Problem, missing_extra
from .nodes import Entry, Mapping, Node, Place, Scalar, Sequence

try:
    import yaml
except ModuleNotFoundError as error:
    raise missing_extra(error, "reading a config file") from error

# Of a tree with its aliases written out: a few lines of aliases of aliases would fill all memory. A rule has about 15
# values, and PyYAML reads some 10,000 values a second.
NODES_MAX: Final = 50_000
CHARS_MAX: Final = 4 << 20
NESTING_MAX: Final = 64
MERGE_KEY: Final = "<<"
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_MENDS: Final = (
    ("'\\t'", "indent with spaces, not with tabs"),
    ("mapping values are not allowed", "a text with a colon and a space stands in quotes"),
    ("cannot start any token", "a text that begins so stands in quotes"),
    ("expected the node content", "a text with one of { } [ ] , stands in quotes there"),
    ("expected ',' or", 'inside { } and [ ] a variable stands in quotes: "${NAME}"'),
)


class _Weighed(NamedTuple):
    """A node, and its nodes and characters with all aliases written out."""

    node: Node
    node_count: int
    char_count: int


class _Refused(Exception):
    """The file can't be read any further."""

    def __init__(self, place: Place, what: str, mend: str = "") -> None:
        self.place, self.what, self.mend = place, what, mend


class _Weight:
    """The sum over the parts of one list or mapping, which is refused as soon as it is too much."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._node_count, self._char_count = 1, 0

    def add(self, part: _Weighed) -> Node:
        self._node_count += part.node_count
        self._char_count += part.char_count
        if self._node_count > NODES_MAX or self._char_count > CHARS_MAX:
            limits = f"{NODES_MAX} values or {CHARS_MAX} characters"
            raise _Refused(self._place, f"is more than {limits}, with its aliases written out")
        return part.node

    def of(self, node: Node) -> _Weighed:
        return _Weighed(node, self._node_count, self._char_count)


class _Composer:
    """Makes nodes of the events of PyYAML's parser, which is no recursion and resolves nothing."""

    def __init__(self, text: str) -> None:
        self._loader = yaml.SafeLoader(text)
        self._anchors: dict[str, _Weighed] = {}

    def document(self) -> Node | None:
        """The one document; None where there is none."""
        self._next()  # the stream's start
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        node = self._node(self._next(), 0).node
        self._next()  # the document's end
        another = self._next()
        if not isinstance(another, yaml.StreamEndEvent):
            raise _Refused(_place(another), "has more than one document", "leave out the --- between them")
        return node

    def _next(self) -> "yaml.Event":
        return self._loader.get_event()

    def _node(self, event: "yaml.Event", depth: int) -> _Weighed:
        place = _place(event)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                what = f"the alias *{event.anchor} has no anchor &{event.anchor} that ends above it"
                raise _Refused(place, what, "a text that begins with * stands in quotes")
            return self._anchors[event.anchor]
        if event.tag is not None:
            name = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise _Refused(place, f"has the tag {name[:40]}", "leave it out: the key says how its value is read")
        if depth > NESTING_MAX:
            raise _Refused(place, f"is nested deeper than {NESTING_MAX}")
        if isinstance(event, yaml.ScalarEvent):
            text = _whole_characters(event.value, place)
            found = _Weighed(Scalar(text, event.style is None, place), 1, len(text))
        elif isinstance(event, yaml.SequenceStartEvent):
            found = self._sequence(place, depth)
        else:
            found = self._mapping(place, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = found
        return found

    def _sequence(self, place: Place, depth: int) -> _Weighed:
        items: list[Node] = []
        weight = _Weight(place)
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(weight.add(self._node(event, depth + 1)))
        return weight.of(Sequence(tuple(items), place))

    def _mapping(self, place: Place, depth: int) -> _Weighed:
        entries: dict[str, Entry] = {}
        merged: list[Mapping] = []
        weight = _Weight(place)
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            at = _place(event)
            key = weight.add(self._node(event, depth + 1))
            value = weight.add(self._node(self._next(), depth + 1))
            if not isinstance(key, Scalar):
                raise _Refused(at, "a key is no single word", "a text with one of { } [ ] stands in quotes")
            name = key.text
            if name in entries or (merged and name == MERGE_KEY):
                mend = "<<: [*one, *other] takes several" if name == MERGE_KEY else "leave one of them out"
                raise _Refused(at, f"the key {name[:40]!r} stands twice in one mapping", mend)
            if name == MERGE_KEY and key.plain:
                merged += _to_merge(value, at)
            else:
                entries[name] = Entry(at, value)
        for mapping in merged:
            for name, entry in mapping.entries.items():
                entries.setdefault(name, entry)
        return weight.of(Mapping(entries, place))


def _to_merge(node: Node, place: Place) -> tuple[Mapping, ...]:
    """What stands at `<<`: a mapping or several, of which the first to have a key gives it."""
    found = node.items if isinstance(node, Sequence) else (node,)
    mappings = tuple(each for each in found if isinstance(each, Mapping))
    if not found or len(mappings) < len(found):
        raise _Refused(place, "<< takes the keys of a mapping, and stands before none", "<<: *name, with a &name above")
    return mappings


def _place(event: "yaml.Event") -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)


def _whole_characters(text: str, place: Place) -> str:
    """JSON's escapes write one character as two; half of one is no text, and no file or client takes a NUL."""
    if _SURROGATES.search(text):
        try:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            raise _Refused(place, "a text has half a character: \\ud800 to \\udfff go in pairs") from None
    if "\0" in text:
        raise _Refused(place, "a text has a NUL character", "leave it out")
    return text


def read_yaml(text: str, source: str) -> Node | None:
    """The nodes of the file; None where it is empty. Raises ConfigError."""

    def refuse(place: Place | None, what: str, mend: str = "") -> NoReturn:
        where = f"{source}:{place.line}:{place.column}" if place else source
        raise ConfigError([Problem("(file)", what, mend, where)], source) from None

    try:
        return _Composer(text).document()
    except _Refused as refused:
        refuse(refused.place, refused.what, refused.mend)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        refuse(place, f"has the character U+{ord(text[error.position]):04X}, which no text has", "leave it out")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = ", ".join(filter(None, (error.context, error.problem)))
        mend = next((mend for sign, mend in _MENDS if sign in words), "")
        refuse(mark and Place(mark.line + 1, mark.column + 1), f"is not YAML: {words}", mend)
    except (yaml.YAMLError, ValueError, LookupError, OverflowError) as error:
        # PyYAML's scanner takes numbers of escapes and directives as they come: "\UFFFFFFFF", %YAML with 5,000 digits.
        refuse(None, f"is not YAML: {str(error)[:80]}")
