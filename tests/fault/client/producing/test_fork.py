"""A producer that was made before os.fork(): the child gets one of its own, and nobody loses or shares an event."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ingestd.client import Event
from tests.support.harness import mock_cluster, read_all
from tests.support.paths import ROOT
from tests.support.wait import MULTIPLIER

WORKERS, EVENTS = 3, 50


def test_prefork_workers_publish_with_the_producer_that_the_master_made():
    cluster = mock_cluster(4)
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "tests.support.prefork",
                cluster.bootstraps,
                str(WORKERS),
                str(EVENTS),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=90 * MULTIPLIER,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        result = json.loads(done.stdout)
        workers, master = result["workers"], result["master"]
        assert [worker["status"] for worker in workers] == [0] * WORKERS
        # The master's pending event is the master's: a child that asks is told so, and does not wait for ever.
        for worker in workers:
            assert "before a fork" in worker["told"] and worker["waiting"] == 1
        ids = [ident for worker in workers for ident in worker["ids"]] + master
        assert len(ids) == len(set(ids)) == WORKERS * EVENTS + len(master)
        # Besides: the first of the master, and of each worker a log line and the event that nobody waited for.
        found = [
            Event.from_json(m.value()) for m in read_all(cluster, "observability.events", len(ids) + 1 + 2 * WORKERS)
        ]
        assert len(found) == len({event.id for event in found}) == len(ids) + 1 + 2 * WORKERS
        assert {event.id for event in found} >= set(ids)
        assert sum(event.message == "last" for event in found) == WORKERS
        assert sorted(event.message for event in found if event.component == "web") == [
            f"worker {number}" for number in range(WORKERS)
        ]
    finally:
        cluster.close()


GUNICORN_APP = """
from ingestd.client import Producer
producer = Producer({brokers!r}, "observability.events", "web", librdkafka={{"log_level": 0}})
producer.publish_log("info", "master", "loaded").result(30)
def app(environ, start_response):
    delivery = producer.publish_log("info", "worker", environ["PATH_INFO"]).result(30)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [delivery.event_id.encode()]
"""


def test_gunicorn_itself_with_a_preloaded_application(tmp_path: Path):
    pytest.importorskip("gunicorn", reason="gunicorn is not there: pip install gunicorn")
    import urllib.request

    from tests.support.ports import free_ports
    from tests.support.wait import wait_until

    cluster = mock_cluster()
    (port,) = free_ports(1)
    (tmp_path / "web.py").write_text(GUNICORN_APP.format(brokers=cluster.bootstraps))
    words = ["-m", "gunicorn", "--preload", "--workers", "2", "--bind", f"127.0.0.1:{port}", "web:app"]
    server = subprocess.Popen([sys.executable, *words], cwd=tmp_path, stderr=subprocess.DEVNULL)

    def ask(path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as reply:
                return reply.read().decode()
        except OSError:
            return None

    try:
        wait_until(lambda: ask("/first"), "gunicorn answers", 30)
        ids = {ask(f"/{number}") for number in range(20)}
        found = {Event.from_json(m.value()).id for m in read_all(cluster, "observability.events", 22)}
        assert len(ids) == 20 and ids <= found
    finally:
        server.terminate()
        server.wait(30)
        cluster.close()
