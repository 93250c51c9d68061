"""A program that consumes, and may be killed: writes the id of each event that it has handled to a file.

python -m tests.support.consumer_program BOOTSTRAP TOPIC GROUP FILE SESSION_MS
"""

import subprocess
import sys
import time
from pathlib import Path

from ingestd.client.consumer import Consumer
from ingestd.client.events import Event

ROOT = Path(__file__).resolve().parents[2]


def start(bootstrap: str, topic: str, group: str, path: Path, session_ms: int) -> subprocess.Popen[bytes]:
    words = [bootstrap, topic, group, str(path), str(session_ms)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.consumer_program", *words], cwd=ROOT, stderr=subprocess.PIPE
    )


def main(bootstrap: str, topic: str, group: str, path: str, session_ms: str) -> None:
    quick = {"session.timeout.ms": int(session_ms), "heartbeat.interval.ms": 100}
    with open(path, "a") as handled:

        def handle(event: Event) -> None:
            time.sleep(0.0005)  # else everything is handled before somebody can kill it
            handled.write(event.id + "\n")
            handled.flush()

        Consumer(bootstrap, topic, group, commit_interval_s=0.05, kafka_options=quick).consume_events(handle)


if __name__ == "__main__":
    main(*sys.argv[1:])
