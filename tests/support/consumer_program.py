"""A program that consumes, and may be killed: writes the id of each event that it has handled to a file.

python -m tests.support.consumer_program BOOTSTRAP TOPIC GROUP FILE SESSION_MS HOLD_AT

With so many lines in the file it stands still in its handler until it is killed, so that it is never through before.
"""

import faulthandler
import signal
import subprocess
import sys
import time
from pathlib import Path

from ingestd.client.consuming.consumer import Consumer
from ingestd.client.events import Event
from tests.support.paths import ROOT

NEVER = 1 << 30


def start(
    bootstrap: str, topic: str, group: str, path: Path, session_ms: int, hold_at: int = NEVER
) -> subprocess.Popen[bytes]:
    words = [bootstrap, topic, group, str(path), str(session_ms), str(hold_at)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.consumer_program", *words], cwd=ROOT, stderr=subprocess.PIPE
    )


def interrupt(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """Ctrl-C. Gives what it wrote to stderr; when it does not end, the error has the stacks of its threads."""
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=timeout_s)[1]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGUSR1)
        time.sleep(1)  # for the stacks to be written: it does not end, so that nothing can be waited for
        process.kill()
        stacks = process.communicate()[1].decode()
        raise AssertionError(f"it did not end within {timeout_s} s of Ctrl-C:\n{stacks}") from None


def main(bootstrap: str, topic: str, group: str, path: str, session_ms: str, hold_at: str) -> None:
    quick = {"session.timeout.ms": int(session_ms), "heartbeat.interval.ms": 100}
    left = int(hold_at) - len(Path(path).read_text().splitlines())
    with open(path, "a") as handled:

        def handle(event: Event) -> None:
            nonlocal left
            if left <= 0:
                signal.pause()
            time.sleep(0.0005)  # else it stands still before anything is committed
            handled.write(event.id + "\n")
            handled.flush()
            left -= 1

        Consumer(bootstrap, topic, group, commit_interval_s=0.05, kafka_options=quick).consume_events(handle)


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    main(*sys.argv[1:])
