"""An environment with the package and its base dependencies alone, as `pip install ingestd` makes it. Needs no network.

What stands in it are links to what this environment has, chosen by the metadata of the installed package.
"""

import re
import subprocess
import venv
from importlib import metadata
from pathlib import Path

import ingestd


def base_dependencies() -> list[str]:
    """The names of what is installed without an extra."""
    required = metadata.requires("ingestd") or []
    return [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in required if "extra ==" not in line]


class BaseInstall:
    """An interpreter that finds ingestd, confluent-kafka and msgspec, and nothing else."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True)
        self.python = folder / "bin" / "python"
        (site,) = (folder / "lib").glob("python*/site-packages")
        for name in base_dependencies():
            files = metadata.files(name)
            assert files, name
            for top in {file.parts[0] for file in files if file.parts[0] != ".."}:
                (site / top).symlink_to(Path(str(files[0].locate())).parents[len(files[0].parts) - 1] / top)
        # The sources stand in daemon/ where the install is an editable one.
        (site / "ingestd").symlink_to(Path(ingestd.__file__).parent.resolve(), target_is_directory=True)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the interpreter, deaf to the variables and the folder that it is started in."""
        return subprocess.run([self.python, "-I", "-W", "error", *words], capture_output=True, text=True, timeout=120)
