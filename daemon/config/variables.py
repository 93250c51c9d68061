"""Environment variables in a config: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar.

They are replaced in scalars that were parsed already, so what a variable holds can never change the structure.
"""

import os
import re
from typing import Any, Final

from ..errors import Problem

_VARIABLE: Final = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})")
# Stands for a value that could not be known: its problem is reported already.
UNKNOWN: Final = object()


class UnsetVariable(Problem):
    """The config has a variable that the environment has not."""


class Substituted(str):
    """A scalar with variables in it. The key that it is for says whether it is a text, a number or a boolean."""


def substitute(value: Any, path: str, problems: list[Problem]) -> Any:
    """The tree with its variables replaced; UNKNOWN, with a problem, where the environment lacks one."""
    if isinstance(value, dict):
        return {key: substitute(item, f"{path}.{key}" if path else str(key), problems) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, f"{path}[{index}]", problems) for index, item in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value
    before = len(problems)

    def replace(match: re.Match[str]) -> str:
        name, default = match.groups()
        if name is None:
            return "$"
        found = os.environ.get(name, default)
        if found is None:
            problems.append(
                UnsetVariable(path, f"the environment has no {name}", f"set it, or write ${{{name}:-default}}")
            )
            return ""
        return found

    replaced = Substituted(_VARIABLE.sub(replace, value))
    return replaced if len(problems) == before else UNKNOWN
