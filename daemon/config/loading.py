"""Loads a config: finds its file, reads it as YAML, replaces variables, and makes the Structs of it."""

import os
from pathlib import Path
from typing import Final

from ..errors import ConfigError, Problem
from .conversion import convert
from .schema import Config
from .variables import substitute

SEARCH_PATHS: Final = ("config.yaml", "/etc/ingestd/config.yaml")


def parse(text: str, source: str = "(text)") -> Config:
    """A config from YAML. Raises ConfigError with every problem of form; `checks.check` finds those of sense."""
    # Only who reads a file needs PyYAML: the client library has configs without one.
    from .yaml_file import read_yaml

    problems: list[Problem] = []
    tree = read_yaml(text, source)
    config = convert(Config, substitute(tree, "", problems), "", problems)
    if problems:
        raise ConfigError(problems, source)
    assert isinstance(config, Config)
    return config


def find(path: str | None = None) -> Path:
    """The config file: `path`, else $INGESTD_CONFIG, ./config.yaml, /etc/ingestd/config.yaml."""
    named = path or os.environ.get("INGESTD_CONFIG")
    if named:
        if not Path(named).is_file():
            raise ConfigError([Problem("(file)", f"{named} is not there", "give another with -c")], named)
        return Path(named)
    for candidate in map(Path, SEARCH_PATHS):
        if candidate.is_file():
            return candidate
    mend = "write one (config.yaml of the project shows every key) and give it with -c"
    raise ConfigError([Problem("(file)", f"none of {', '.join(SEARCH_PATHS)} is there", mend)])


def load(path: str | None = None) -> Config:
    """The config of a file. Raises ConfigError."""
    file = find(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem("(file)", f"{file} cannot be read: {error}")], str(file)) from error
    return parse(text, str(file))
