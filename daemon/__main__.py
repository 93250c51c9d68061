"""`ingestd` and `python -m ingestd`: the command line, or the one command that installs what it needs."""

import sys

from .errors import MissingExtra, missing_extra


def main() -> None:
    """The entry point. Ends the process."""
    try:
        # The client library is installed without click, and this script with it.
        from .cli import OWN_PROCESS
        from .cli import main as run
        from .cli.shared import streams

        streams.set_up()
        run(process=OWN_PROCESS)
    except KeyboardInterrupt:  # while all of that was loaded
        sys.exit(130)
    except ModuleNotFoundError as error:
        missing = missing_extra(error, "the command line", "daemon")
        if not isinstance(missing, MissingExtra):
            raise
        sys.exit(f"ingestd: {missing}")


if __name__ == "__main__":
    main()
