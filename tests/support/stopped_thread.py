"""One thread of another process is stopped, as a debugger does it; the others go on. A thread id in."""

import ctypes
import os
import subprocess
import sys

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WALL = 0x40000000  # __WALL: also threads that are no children


class StoppedThread:
    """`with StoppedThread(task):`. The tracer is a process of its own, as it has to collect the thread at its end."""

    def __init__(self, task: int) -> None:
        self.task = task

    def __enter__(self) -> "StoppedThread":
        self.tracer = subprocess.Popen(
            [sys.executable, __file__, str(self.task)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert self.tracer.stdout is not None
        assert self.tracer.stdout.readline() == "stopped\n"
        return self

    def __exit__(self, *unused: object) -> None:
        self.tracer.kill()  # the thread would go on, if it is still there
        self.tracer.wait(20)
        assert self.tracer.stdout is not None
        self.tracer.stdout.close()


def hold(task: int) -> None:
    """Until the thread has ended."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    libc.ptrace.restype = ctypes.c_long
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if libc.ptrace(request, task, 0, 0):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    while True:
        _, status = os.waitpid(task, WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            return
        print("stopped", flush=True)


if __name__ == "__main__":
    hold(int(sys.argv[1]))
