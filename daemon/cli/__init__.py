"""The command line `ingestd`. Exit codes: 0 done, 1 failed, 2 usage, 78 bad config, 130 Ctrl-C."""

import importlib
import sys

import click

from .. import __version__
from ..errors import ConfigError, IngestdError
from ..telemetry.logs import to_journal

EXIT_CONFIG = 78  # sysexits.h EX_CONFIG: systemd is told not to restart after it

# Verb -> its one line of help. The module of a verb is loaded only when it is called.
VERBS = {
    "run": "Run the daemon in the foreground.",
    "validate": "Check a config, and with it the cluster and Redis.",
    "test": "Show where events would go, without Kafka or Redis.",
    "topics": "Create the topics of a config.",
    "top": "Watch a running daemon: rates, lag, and what is the bottleneck.",
    "tap": "Show events as they pass through a running daemon.",
    "reload": "Let a running daemon read its config again.",
    "lag": "Show how far this group is behind, also when no daemon runs.",
    "events": "Show what is stored: an event, a correlation, a trace.",
    "demo": "Run everything here, on a mock Kafka and a private Redis.",
    "migrate-config": "Turn a config of the old pipeline into a new one.",
    "compare": "Count and hash old topics against new ones.",
}


class _Verbs(click.Group):
    """Loads the module of a verb when it is needed; a dash in a verb is an underscore in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module = "demo.command" if name == "demo" else name.replace("-", "_")
        return importlib.import_module(f".{module}", __package__).command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="ingestd")
def cli() -> None:
    """ingestd takes observability events in from Kafka: it checks them, routes them to one topic a type, indexes
    them in Redis, and loses nothing.

    Start with `ingestd demo`. On your own cluster: write a config.yaml, then `ingestd validate`, `ingestd topics
    create`, `ingestd run`.
    """


config_option = click.option(
    "-c",
    "--config",
    "config_path",
    metavar="FILE",
    help="The config. Else $INGESTD_CONFIG, ./config.yaml, /etc/ingestd/config.yaml.",
)


def report_config_error(error: ConfigError) -> int:
    """Every problem on a line of its own, in the journal as an error."""
    head = "<3>" if to_journal() else ""
    where = f" in {error.source}" if error.source else ""
    count = len(error.problems)
    print(f"{head}ingestd: {count} problem{'s' if count > 1 else ''}{where}", file=sys.stderr)
    for problem in error.problems:
        print(f"{head}  {problem}", file=sys.stderr)
    return EXIT_CONFIG


def main(arguments: list[str] | None = None) -> None:
    """The entry point. Ends the process."""
    try:
        code = cli.main(arguments, prog_name="ingestd", standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except KeyboardInterrupt:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except ConfigError as error:
        code = report_config_error(error)
    except IngestdError as error:
        print(f"ingestd: {error}", file=sys.stderr)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
