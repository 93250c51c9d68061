"""Loads a config: finds its file, reads it as YAML, replaces variables, and makes the Structs of it."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from ..errors import ConfigError, Problem
from . import config_source
from .conversion import Conversion
from .nodes import Mapping as MappingNode
from .nodes import Place, shortened
from .schema import Config

SEARCH_PATHS: Final = ("config.yaml", "/etc/ingestd/config.yaml")
# The name of a file or of a topic may be as long as the config.
WHAT_CHARS_MAX: Final = 300
_LAST_PART: Final = re.compile(r"(\.[^.\[\]]*|\[\d*\])$")


class Loaded(NamedTuple):
    """A config, the name of its file, and where each of its key paths stands there: FILE:LINE:COLUMN."""

    config: Config
    source: str = ""
    places: Mapping[str, str] = {}

    def located(self, problems: Iterable[Problem]) -> list[Problem]:
        """The same problems with their places: of the key, else of the nearest above it that the file has."""
        return [
            problem._replace(
                what=shortened(problem.what, WHAT_CHARS_MAX), place=problem.place or self._place(problem.path)
            )
            for problem in problems
        ]

    def _place(self, path: str) -> str:
        while path and path not in self.places:
            path = _LAST_PART.sub("", path) if _LAST_PART.search(path) else ""
        return self.places.get(path, "")


def parse_located(text: str, source: str = "(text)") -> Loaded:
    """A config from YAML, with its places. Raises ConfigError with every problem of form."""
    # Only who reads a file needs PyYAML: the client library has configs without one.
    from .yaml_file import read_yaml

    conversion = Conversion(source)
    node = read_yaml(text, source)
    config = conversion.convert(Config, MappingNode({}, Place(1, 1)) if node is None else node, "")
    if conversion.problems:
        raise ConfigError(conversion.problems, source)
    assert isinstance(config, Config)
    return Loaded(config, source, conversion.places)


def parse(text: str, source: str = "(text)") -> Config:
    """A config from YAML. Raises ConfigError with every problem of form; `checks.check` finds those of sense."""
    return parse_located(text, source).config


def find(path: str | None = None) -> Path:
    """The config file: `path`, else $INGESTD_CONFIG, ./config.yaml, /etc/ingestd/config.yaml. `-`: standard input."""
    named = path or os.environ.get("INGESTD_CONFIG")
    if named:
        if named != config_source.STANDARD_INPUT and not os.path.exists(named):
            raise ConfigError([Problem("(file)", f"{named} is not there", "give another with -c")], named)
        return Path(named)
    for candidate in map(Path, SEARCH_PATHS):
        if candidate.is_file():
            return candidate
    mend = "write one (config.yaml of the project shows every key) and give it with -c"
    raise ConfigError([Problem("(file)", f"none of {', '.join(SEARCH_PATHS)} is there", mend)])


def load_located(path: str | None = None) -> Loaded:
    """The config of a file, with its places. Raises ConfigError."""
    named = str(find(path))
    return parse_located(config_source.read_text(named), "(standard input)" if named == "-" else named)


def load(path: str | None = None) -> Config:
    """The config of a file. Raises ConfigError."""
    return load_located(path).config
