"""Reads YAML as configs are written in it: a key that stands twice is an error, and a date stays text."""

from collections.abc import Hashable
from typing import Any

from ..errors import ConfigError, Problem, missing_extra

try:
    import yaml
except ModuleNotFoundError as error:
    raise missing_extra(error, "reading a config file") from error

_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))


class StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, and a date stays text."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Also a scalar that is not what its form or its tag says is a YAMLError: `0x_`, `!!int x`."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError) as error:
            what = f"{str(node.value)[:40]!r} is no {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error


def _mapping(loader: StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    line = node.start_mark.line + 1
    for key in keys:
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} below line {line} is no single word")
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice below line {line}")
    return {key: loader.construct_object(value, deep=True) for key, (_, value) in zip(keys, node.value, strict=True)}


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: node.value)


def read_yaml(text: str, source: str) -> Any:
    """Mappings, lists and scalars. Raises ConfigError."""
    try:
        return yaml.load(text, StrictLoader)
    except yaml.YAMLError as error:
        raise ConfigError([Problem("(file)", f"is not YAML: {error}")], source) from error
    except RecursionError as error:
        raise ConfigError([Problem("(file)", "is nested too deeply to be read")], source) from error


def as_scalar(text: str) -> Any:
    """What YAML would make of a text without quotes; never a list or a mapping."""
    loader = StrictLoader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))
    if tag not in _PLAIN_TAGS:
        return text
    try:
        return loader.construct_object(yaml.ScalarNode(tag, text))
    except yaml.YAMLError:
        return text
