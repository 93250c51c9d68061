"""The command line `ingestd`. Exit codes: 0 done, 1 failed, 2 usage, 78 bad config, 130 Ctrl-C."""

import importlib
import sys
from typing import Any

import click

from .. import __version__
from ..errors import ConfigError, IngestdError
from ..telemetry.logs import to_journal
from .shared import signals, streams
from .shared.messages import fail, near, note, system_words

EXIT_CONFIG = 78  # sysexits.h EX_CONFIG: systemd is told not to restart after it
OWN_PROCESS = object()

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
            # Click's own knows no verbs, as none is loaded yet.
            raise click.UsageError(f"there is no verb {name!r}.{near(name, VERBS)}", ctx)
        module = "demo.command" if name == "demo" else name.replace("-", "_")
        return importlib.import_module(f".{module}", __package__).command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="ingestd")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """ingestd takes observability events in from Kafka: it checks them, routes them to one topic a type, indexes
    them in Redis, and loses nothing.

    Start with `ingestd demo`. On your own cluster: write a config.yaml, then `ingestd validate`, `ingestd topics
    create`, `ingestd run`.
    """
    # The daemon's loop has handlers of its own.
    if ctx.obj is OWN_PROCESS and ctx.invoked_subcommand != "run":
        signals.set_up()


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
    note(f"{head}ingestd: {count} problem{'s' if count > 1 else ''}{where}")
    for problem in error.problems:
        note(f"{head}  {problem}")
    return EXIT_CONFIG


def report_usage_error(error: click.ClickException) -> int:
    """The usage of the verb, and what is wrong with its words."""
    error.show(file=sys.stderr)
    return error.exit_code


def report_ended_output(error: OSError) -> int:
    streams.redirect(streams.STDOUT)
    return fail(f"standard output can't be written: {system_words(error)}")


def _exit_code(arguments: list[str] | None, process: object) -> int:
    """Run a verb, and see that all it wrote is out."""
    try:
        code: Any = cli.main(arguments, prog_name="ingestd", standalone_mode=False, obj=process)
        streams.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        return signals.EXIT_INTERRUPTED
    except click.ClickException as error:
        return report_usage_error(error)
    except ConfigError as error:
        return report_config_error(error)
    except IngestdError as error:
        return fail(error)
    except OSError as error:
        # Of the system, such as no folder for temporary files or too many open files. What a verb asks of Kafka, Redis
        # and its files it answers for itself.
        return fail(system_words(error))
    return code if isinstance(code, int) else 0


def main(arguments: list[str] | None = None, process: object = None) -> None:
    """The entry point. Ends the process. `process`: OWN_PROCESS where signals and streams are this one's to change."""
    try:
        code = _exit_code(arguments, process)
        streams.flush()
    except KeyboardInterrupt:
        code = signals.EXIT_INTERRUPTED
    except streams.OutputEnded as ended:
        code = report_ended_output(ended.error)
    except signals.Terminated as ended:
        signals.end_by(ended.number)
    sys.exit(code)
