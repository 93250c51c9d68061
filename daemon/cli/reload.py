"""`ingestd reload`: the running daemon reads its config again. Nothing in; what changed out."""

import click

from ..errors import Problem
from . import EXIT_CONFIG
from .shared.daemon_client import find, place_options
from .shared.messages import printable
from .shared.output import write_json


@click.command("reload")
@place_options
@click.option("--json", "as_json", is_flag=True, help="What was changed as JSON.")
def command(config_path: str | None, at: str | None, as_json: bool) -> int:
    """Let a running daemon read its config again.

    Rules, limits, times to live, health settings and the log level change between two batches, without a rebalance. A
    file with a problem changes nothing: exit 78. Keys that need a restart are named.
    """
    result = find(config_path, at, control_only=True).json("POST", "/reload")
    if as_json:
        write_json(result)
    else:
        for problem in result["problems"]:
            click.echo(printable(f"problem  {Problem(**problem)}"))
        for path in result["live"]:
            click.echo(printable(f"changed  {path}"))
        for path in result["restart"]:
            click.echo(printable(f"restart  {path} needs a restart"))
        if not any(result.values()):
            click.echo("nothing has changed")
    return EXIT_CONFIG if result["problems"] else 0
