"""Runs a command with a limit of time, and ends whatever it leaves running. Exit code: the command's, or 124.

python3 .ci/lane.py SECONDS COMMAND...
"""

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def children() -> dict[int, str]:
    """The processes whose parent is this one, with their command lines; ended ones are collected."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == os.getpid():
                found[int(folder.name)] = (folder / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
    return found


def end_all() -> None:
    """Kill the children until there are none: those of a killed one become this process's."""
    told: set[int] = set()
    while left := children():
        for pid, line in left.items():
            if pid not in told:  # one that is being killed may take its time
                print(f"left running, and ended now: {pid} {line[:200]}", flush=True)
                told.add(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def main(limit_s: float, words: list[str]) -> int:
    # Orphans become children of this process, in whatever session or group they are.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    deadline_s = time.monotonic() + limit_s
    no_input = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    # Python ignores the first two, and a shell the others of what it starts in the background. The command must not
    # inherit that: what the tests start would not hear Ctrl-C.
    default = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT]
    command = os.posix_spawnp(words[0], words, os.environ, file_actions=[no_input], setsigdef=default)
    try:
        while time.monotonic() < deadline_s:
            # Orphans are collected at once, as init does: who waits for one to end would wait for its zombie.
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == command:
                return os.waitstatus_to_exitcode(status)
            if not pid:
                time.sleep(0.05)
        print(f"not done within {limit_s:.0f} s: {' '.join(words)}", flush=True)
        return 124
    finally:
        end_all()


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
