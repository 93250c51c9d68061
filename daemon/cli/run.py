"""`ingestd run`: the daemon in the foreground."""

from pathlib import Path

import click

from ..config import checks
from ..config.schema import Config, find, load
from ..telemetry import logs
from . import config_option
from .shared import descriptors


@click.command("run")
@config_option
@click.option(
    "--books-file",
    type=click.Path(path_type=Path),
    hidden=True,
    help="Write the books there as JSON, every second and at the end.",
)
def command(config_path: str | None, books_file: Path | None) -> int:
    """Run the daemon in the foreground.

    SIGTERM or Ctrl-C: take nothing more, finish what was taken, leave the group, exit 0. A second one: exit at once.
    SIGHUP: read the config again; rules, limits, times to live, health and log level change without a rebalance.
    """

    def read() -> Config:
        config = load(config_path)
        checks.ensure(config, str(find(config_path)))
        return config

    config = read()
    descriptors.ensure()
    log = logs.set_up(config.logging.level, config.logging.format)
    from ..app import serve  # the compiled modules are loaded only by those who need them

    return serve(config, log, books_file, read)
