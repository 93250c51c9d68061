"""The tests mean the same under `nohup` and `&`: what they start hears Ctrl-C and a hang-up."""

import subprocess
import sys

from tests.support.paths import ROOT

# Starts as `nohup python ... &` of a shell would, and loads the harness.
PROGRAM = """
import os, signal, subprocess, sys
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
import tests.conftest
os.kill(os.getpid(), signal.SIGHUP)
child = "import signal as s; print(*(s.getsignal(number) != s.SIG_IGN for number in (s.SIGINT, s.SIGHUP)))"
subprocess.run([sys.executable, "-c", child], check=True)
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_run_in_the_background_starts_programs_that_hear_signals_and_outlives_a_hang_up_itself():
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout.splitlines(), done.returncode) == (["True True", "interrupted"], 0), done.stderr
