"""The HTTP endpoint of a live daemon, on the mock cluster: what is scraped is true, and /ready says what is amiss."""

import asyncio
import json
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from ingestd import __version__
from ingestd.telemetry.metrics import METRICS
from tests.support.daemon_process import INPUT, DaemonProcess
from tests.support.harness import Harness, event, make_config, mock_cluster, publish, settled, until
from tests.support.ports import free_ports
from tests.support.redis_node import RedisNode
from tests.support.scrape import Endpoint, Figures, promtool
from tests.support.wait import MULTIPLIER, wait_until

ENDS = ("delivered", "dropped", "dead_lettered", "abandoned")
FIRST = [
    event("1"),
    event("2", level="debug"),
    b"{",
    event("3", service="pay", level="error"),
    event("4", service="pay", level="critical"),
    event("5", service="web", level="ERROR"),
]


def run(work):
    return uvloop.run(asyncio.wait_for(work, 100 * MULTIPLIER))


class Live:
    """A daemon process on a mock cluster, with FIRST behind it."""

    def __init__(self, folder: Path) -> None:
        self.cluster = mock_cluster(2)
        self.redis = RedisNode(folder / "redis").start()
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        rules = [{"name": "no debug", "match": {"levels": ["debug"]}, "action": "drop"}]
        self.daemon = DaemonProcess(
            folder / "daemon",
            self.cluster.bootstraps,
            self.redis.url,
            rules=rules,
            http={"listen": self.address},
            kafka={"consumer_options": {}},
        ).start()
        self.daemon.wait_joined()
        publish(self.cluster, FIRST)
        wait_until(lambda: self.daemon.column("delivered") == 4, "the first events are done")

    def ask(self, work):
        async def asking():
            async with Endpoint(self.address) as endpoint:
                return await work(endpoint)

        return run(asking())

    def stop(self) -> None:
        self.daemon.kill()
        self.redis.stop()
        self.cluster.close()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    world = Live(tmp_path_factory.mktemp("live"))
    yield world
    world.stop()


def test_a_scrape_says_what_became_of_the_events(live: Live):
    def lag(found: Figures) -> dict[str, float]:
        return {row["partition"]: n for row, n in found.rows("ingestd_kafka_consumer_lag_records")}

    wait_until(lambda: lag(live.ask(Endpoint.figures)) == {"0": 0, "1": 0}, "the lag of both partitions is known")
    found = live.ask(Endpoint.figures)
    assert found.value("ingestd_events_received_total", source_topic=INPUT) == 6
    assert found.value("ingestd_events_delivered_total", source_topic=INPUT) == 4
    assert found.value("ingestd_events_discarded_total", reason="rule", intentional="true") == 1
    assert found.value("ingestd_dead_letters_total", **{"class": "not_json"}) == 1
    assert found.value("ingestd_dead_letters_total", **{"class": "tombstone"}) == 0
    assert found.value("ingestd_records_missed_total", source_topic=INPUT) == 0
    assert found.value("ingestd_events_sent_total", sink="kafka", type="log") == 4
    assert found.value("ingestd_events_sent_total", sink="kafka", type="dead_letter") == 1
    errors = {(row["service"], row["level"]): n for row, n in found.rows("ingestd_error_events_total")}
    assert errors == {("pay", "error"): 1, ("pay", "fatal"): 1, ("web", "error"): 1}
    assert found.value("ingestd_end_to_end_seconds_count") == 6
    assert 0 < found.value("ingestd_end_to_end_seconds_sum") < 60 * MULTIPLIER
    for sink in ("kafka", "redis"):
        assert 0 < found.value("ingestd_sink_seconds_count", sink=sink) <= found.value("ingestd_batches_total")
        assert found.value("ingestd_sink_connected", sink=sink) == 1
    assert found.value("ingestd_books_balanced") == found.value("ingestd_joined") == 1
    assert found.value("ingestd_in_flight_events") == 0
    assert found.value("process_cpu_seconds_total") > 0 and found.value("process_resident_memory_bytes") > 1e6
    ((build, one),) = found.rows("ingestd_build_info")
    assert build["version"] == __version__ and one == 1


def test_what_is_scraped_has_the_form_that_promtool_wants(live: Live):
    promtool("check", "metrics", text=live.ask(Endpoint.figures).text)


def test_every_page_answers(live: Live):
    async def work(endpoint: Endpoint) -> None:
        assert await endpoint.get("/ping") == (200, "pong\n")
        assert await endpoint.json("/ready") == {"ready": True, "reasons": []}
        assert (await endpoint.json("/version"))["version"] == __version__
        assert (await endpoint.get("/"))[1].split() == ["/ping", "/ready", "/metrics", "/version", "/status"]
        told = await endpoint.json("/status")
        assert told["group"] == "ingestd" and told["limits"]["batch_events_max"] == 2000
        assert told["held_back"]["by"] is None and told["held_back"]["open_batches_wait_for"] == []
        assert set(told["health"].values()) == {"healthy"}
        assert (await endpoint.get("/nothing"))[0] == 404
        status, text = await endpoint.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert status == 200 and text.endswith("# EOF\n")

    live.ask(work)


def test_scrapes_under_load_are_whole_and_never_go_back(live: Live):
    total = 20_000
    feeding = threading.Thread(target=publish, args=(live.cluster, [event(str(n)) for n in range(total)]))

    async def work(endpoint: Endpoint) -> tuple[list[Figures], float, float]:
        asked_s = time.monotonic()
        seen, told_s = [await endpoint.figures()], time.monotonic()
        feeding.start()
        while len(seen) < 4 or seen[-1].total("ingestd_events_delivered_total") < total + 4:
            told = await endpoint.json("/status")
            for row in told["books"].values():
                assert row["received"] == sum(row[end] for end in ENDS) + row["in_flight"]
            last_asked_s = time.monotonic()
            seen.append(await endpoint.figures())
        return seen, last_asked_s - told_s, time.monotonic() - asked_s

    seen, least_s, most_s = live.ask(work)
    feeding.join()
    for before, after in zip(seen, seen[1:], strict=False):
        for (name, labels), figure in before.samples.items():
            if name.endswith(("_total", "_count", "_bucket")):
                assert after.samples[name, labels] >= figure, name
    for found in seen:
        assert found.value("ingestd_books_balanced") == 1
        assert all(n >= 0 for _, n in found.rows("ingestd_kafka_consumer_lag_records"))
    spent = {row["phase"]: seconds for row, seconds in seen[-1].rows("ingestd_loop_seconds_total")}
    for row, seconds in seen[0].rows("ingestd_loop_seconds_total"):
        spent[row["phase"]] -= seconds
    assert sorted(spent) == ["commit", "other", "poll", "process", "produce", "redis", "waiting"]
    assert all(seconds > 0 for seconds in spent.values()), spent
    # The daemon read its clock between a question and its answer, at the first as at the last. What it tells is the sum
    # of three clocks, which it reads one after the other.
    assert least_s - 0.1 <= sum(spent.values()) <= most_s + 0.1


def test_every_metric_of_the_table_is_exposed(live: Live):
    exposed = {line.split()[2] for line in live.ask(Endpoint.figures).text.splitlines() if line.startswith("# TYPE")}
    assert METRICS.keys() <= exposed
    assert {name for name in exposed if name.startswith("ingestd_")} <= METRICS.keys()


def test_ready_follows_redis_through_an_outage(redis_node: RedisNode, tmp_path: Path):
    path = str(tmp_path / "http.sock")

    async def work(cluster) -> None:
        config = make_config(cluster, redis_node.url, http={"listen": path})
        async with Harness(config) as app, Endpoint(path) as endpoint:
            assert stat.S_IMODE(Path(path).stat().st_mode) == 0o660
            # The loop has not run yet, so nothing has answered.
            unready = ["the group has given no assignment yet", "redis is not connected", "kafka does not answer"]
            assert app.overview.unready() == unready
            await settled(app)
            assert await endpoint.json("/ready") == {"ready": True, "reasons": []}
            await asyncio.to_thread(redis_node.stop)
            await until(lambda: not app.redis.connected, "it is noticed")
            status, body = await endpoint.get("/ready")
            assert (status, json.loads(body)["reasons"]) == (503, ["redis is not connected"])
            await asyncio.to_thread(publish, cluster, [event("1")])
            await until(lambda: app.redis.waiting_count and not app.kafka.open_count, "an event waits for it alone")
            told = await endpoint.json("/status")
            assert not told["ready"] and told["held_back"]["open_batches_wait_for"] == ["redis"]
            assert (await endpoint.figures()).value("ingestd_sink_connected", sink="redis") == 0
            await asyncio.to_thread(redis_node.start)
            await until(lambda: app.redis.connected, "it is back")
            assert (await endpoint.get("/ready"))[0] == 200
        assert not Path(path).exists(), "the socket goes with the daemon"

    cluster = mock_cluster()
    run(work(cluster))
    cluster.close()


def test_ready_follows_kafka_through_an_outage(live: Live):
    async def work(cluster) -> None:
        config = make_config(cluster, live.redis.url, http={"listen": "127.0.0.1:0"}, health={"interval_s": 1})
        async with Harness(config) as app, Endpoint(app.http.address) as endpoint:
            await settled(app)
            assert (await endpoint.get("/ready"))[0] == 200
            cluster.broker_down()
            await until(lambda: not app.kafka.connected, "it is noticed")
            status, body = await endpoint.get("/ready")
            assert status == 503 and json.loads(body)["reasons"] == ["kafka does not answer"]
            cluster.broker_up()
            await until(lambda: app.kafka.connected, "it is back")

    cluster = mock_cluster()
    run(work(cluster))
    cluster.close()


def test_a_port_in_use_is_exit_78_and_names_its_key(tmp_path: Path):
    path = tmp_path / "config.yaml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        path.write_text(json.dumps({"kafka": {"brokers": ["127.0.0.1:1"]}, "http": {"listen": listen}}))
        words = [sys.executable, "-m", "ingestd", "run", "-c", str(path)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60 * MULTIPLIER)
    assert done.returncode == 78
    assert f"http.listen: {listen} is in use by another process" in done.stderr
    assert "started" not in done.stderr, "the group was joined"
