"""Every check of a config that needs no cluster, for all who read one: `run`, `reload` and `validate` find the same."""

from typing import NamedTuple

from ..errors import ConfigError, Problem
from . import checks, librdkafka_check
from .loading import Loaded
from .redis_options import tls_problems
from .secrets import unreadable_files


class Report(NamedTuple):
    """What was found, each with its place, and how many options which librdkafka looked at."""

    problems: list[Problem]
    warnings: list[Problem]
    option_count: int
    version: str


def examine(loaded: Loaded) -> Report:
    """All problems at once: keys, values, topics, rules, files, and what librdkafka says of its options."""
    files = list(unreadable_files(loaded.config))
    options = librdkafka_check.check(loaded.config, not files)
    problems = [*checks.check(loaded.config), *files]
    if not any(problem.path.startswith("redis.") for problem in problems):
        problems += tls_problems(loaded.config.redis)
    # What a range or a promise says of a key already, librdkafka says again in its own words.
    paths = {problem.path for problem in problems}
    problems += [problem for problem in options.problems if problem.path not in paths]
    warnings = loaded.located(options.warnings)
    return Report(loaded.located(problems), warnings, options.option_count, options.version)


def ensure(loaded: Loaded) -> None:
    """Raises ConfigError when there is a problem."""
    problems = examine(loaded).problems
    if problems:
        raise ConfigError(problems, loaded.source)
