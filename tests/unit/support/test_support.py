"""What the tests stand on."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ports
from tests.support.daemon_process import DaemonProcess
from tests.support.ports import free_ports
from tests.support.redis_node import RedisNode


def test_free_ports_are_given_to_one_asker_only():
    program = "from tests.support.ports import free_ports; print(*free_ports(100), flush=True); input()"
    children = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        given = [int(port) for child in children for port in child.stdout.readline().split()] + free_ports(100)
        assert len(given) == len(set(given)) == 300
    finally:
        for child in children:
            child.communicate("\n", timeout=20)


def test_free_ports_are_none_that_the_kernel_gives_to_connections():
    first, last = (int(bound) for bound in ports.RANGE.read_text().split())
    if first <= ports.LOWEST + 1000:
        pytest.skip("the kernel of this machine chooses from nearly all ports")
    assert [port for port in free_ports(100) if first <= port <= last] == []


def test_a_server_that_does_not_start_says_why(tmp_path: Path):
    node = RedisNode(tmp_path, extra=("--no-such-option", "1"))
    with pytest.raises(AssertionError, match=r"redis-server ended with 1: (.|\n)*no-such-option"):
        node.start()


def test_a_line_of_the_log_that_is_being_written_is_none_yet(tmp_path: Path):
    daemon = DaemonProcess(tmp_path, "127.0.0.1:1", "redis://127.0.0.1:1")
    daemon.log_path.write_text('{"message": "a"}\nnot json\n{"message": "b')
    assert daemon.log_lines() == [{"message": "a"}]
