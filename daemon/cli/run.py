"""`ingestd run`: the daemon in the foreground."""

from pathlib import Path

import click

from ..config import full_check
from ..config.config_source import is_read_once
from ..config.loading import find, load_located
from ..config.schema import Config
from ..errors import ConfigError, Problem
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

    named = str(find(config_path))

    def read() -> Config:
        loaded = load_located(named)
        full_check.ensure(loaded)
        return loaded.config

    def refuse() -> Config:
        what = f"the config was read from {named}, which can be read only once"
        raise ConfigError([Problem("(file)", what, "a reload needs a file; restart with -c FILE")], named)

    # Asked before it is read: a FIFO is removed by some who made it.
    reread = refuse if is_read_once(named) else read
    config = read()
    descriptors.ensure()
    log = logs.set_up(config.logging.level, config.logging.format)
    from ..app import serve  # the compiled modules are loaded only by those who need them

    return serve(config, log, books_file, reread)
