"""The service's life under systemd: start, wait, share, reload, stop."""

import socket
import stat
import time

import pytest

from tests.support.feed import Feeder, feed
from tests.support.systemd_service import UNITS, Service
from tests.support.verify import read_topics
from tests.support.wait import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300)]
RATE = 2000


def test_it_starts_ready_says_what_it_does_and_stops_clean(service: Service):
    service.configure()
    service.systemctl("start")
    assert service.show("ActiveState") == "active"
    service.wait_status("0 events/s, lag 0 records, 4 partitions")
    feed(service.kafka.bootstrap, 0, 1000, service.input)
    wait_until(service.all_committed, "all is committed")
    assert service.lab.run("ps", "-o", "user=", "-p", service.show("MainPID")).stdout.strip() == "ingestd"
    folder = (service.lab.root / "run/ingestd").stat()
    assert stat.S_IMODE(folder.st_mode) == 0o750
    service.systemctl("stop")
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
    assert any(line.startswith("stopped drained=true") for line in service.journal())
    assert service.journal(priority="warning") == []


def test_broker_and_redis_that_are_down_at_boot_are_waited_for_beyond_the_start_time_out(service: Service):
    service.configure()
    service.drop_in(TimeoutStartSec=6, WatchdogSec=2)  # a start takes 0.3 s, and on a busy machine two or three
    service.kafka.stop()
    service.redis_node.stop()
    try:
        service.systemctl("start")
        assert service.show("ActiveState") == "active"
        assert service.status() == "waiting for the consumer group and Redis"
        time.sleep(14)  # the time of the outage: beyond both time-outs, and long enough for threads to count as silent
        assert (service.show("ActiveState"), service.show("NRestarts")) == ("active", "0")
        assert service.status() == "waiting for the consumer group and Redis"
        service.redis_node.start()
        wait_until(lambda: service.status() == "waiting for the consumer group", "Redis is there", 20)
    finally:
        service.kafka.start()
        if service.redis_node.process is None:
            service.redis_node.start()
    feed(service.kafka.bootstrap, 0, 1000, service.input)
    wait_until(service.all_committed, "all is committed", 60)
    assert service.show("NRestarts") == "0"
    assert not any("stands still" in line for line in service.journal())


def test_the_metrics_have_the_process_and_the_socket_is_the_groups(service: Service):
    service.configure(http={"listen": "${RUNTIME_DIRECTORY}/http.sock"})
    service.start_working()
    path = service.lab.root / "run/ingestd/http.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(20)
        link.connect(str(path))
        link.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: link.recv(65536), b"")).decode()
    values = dict(line.rsplit(" ", 1) for line in answer.splitlines() if line.startswith("process_"))
    rss_bytes = float(values["process_resident_memory_bytes"])
    assert 10e6 < rss_bytes < 300e6
    assert float(values["process_open_fds"]) > 10 and float(values["process_cpu_seconds_total"]) > 0
    assert 0 < float(values["process_start_time_seconds"]) <= time.time()


def test_a_third_instance_on_two_partitions_is_ready_and_stays(service: Service):
    instances = [f"ingestd@{name}.service" for name in ("a", "b", "c")]
    service.configure(partitions=2, kafka={"client_id": "from-the-common-file-${INSTANCE}"})
    service.configure("/etc/ingestd/c.yaml", kafka={"client_id": "from-a-file-of-its-own"})
    service.systemctl("start", *instances)
    shares = ["0 partitions", "1 partitions", "1 partitions"]
    wait_until(
        lambda: sorted(service.status(unit).rsplit(", ", 1)[-1] for unit in instances) == shares,
        "two partitions for three",
        60,
    )
    feed(service.kafka.bootstrap, 0, 1000, service.input, partitions=2)
    wait_until(service.all_committed, "all is committed")
    assert {(service.show("ActiveState", unit), service.show("NRestarts", unit)) for unit in instances} == {
        ("active", "0")
    }
    assert service.members() == {"from-the-common-file-a", "from-the-common-file-b", "from-a-file-of-its-own"}
    folders = [service.lab.root / f"run/ingestd/{name}" for name in ("a", "b", "c")]
    assert all(stat.S_IMODE(folder.stat().st_mode) == 0o750 for folder in folders)
    service.systemctl("stop", instances[0])
    assert [folder.exists() for folder in folders] == [False, True, True]
    wait_until(lambda: "1 partitions" in service.status(instances[2]), "the third takes over", 30)


def test_a_good_file_is_taken_over_under_load_and_a_bad_one_fails_the_reload_alone(service: Service):
    service.configure()
    service.start_working()
    pid = service.show("MainPID")
    feeder = Feeder(service.kafka.bootstrap, RATE, topic=service.input)
    feeder.start()
    try:
        wait_until(lambda: sum(service.kafka.ends(service.topics["logs"]).values()) > 500, "it is under load")
        service.configure(rules=[{"name": "metrics are dropped", "match": {"types": ["metric"]}, "action": "drop"}])
        assert service.systemctl("reload") == 0
        wait_until(
            lambda: any(
                line.startswith("config reloaded ") and 'changed=["rules"]' in line for line in service.journal()
            ),
            "the new rule is taken over",
        )
        wait_until(lambda: service.show("ActiveState") == "active", "READY=1 came after RELOADING=1", 10)
        service.configure(pipelin={})
        assert service.systemctl("reload", check=False) == 1
        assert service.show("ActiveState") == "active"
        assert any("pipelin: unknown key (did you mean pipeline?)" in line for line in service.journal())
        made = feeder.stop()
        wait_until(service.all_committed, "all is committed")
    finally:
        feeder._stopping.set()
    assert (service.show("MainPID"), service.show("NRestarts")) == (pid, "0")
    service.systemctl("stop")
    copies = read_topics(service.kafka.bootstrap, service.typed)
    kept = {each.id for each in made if each.type != "metric"}
    assert kept - set(copies.by_id) == set(), "events are missing"
    assert sum(copies.by_id.values()) == len(copies.by_id), "events are doubled"
    metrics = {each.id for each in made if each.type == "metric"}
    assert metrics - set(copies.by_id), "the rule dropped none"


def test_a_stop_under_load_drains_and_doubles_nothing(service: Service):
    service.configure()
    service.start_working()
    feeder = Feeder(service.kafka.bootstrap, RATE, topic=service.input)
    feeder.start()
    try:
        wait_until(lambda: sum(service.kafka.ends(service.topics["logs"]).values()) > 500, "it is under load")
        for _ in range(2):
            service.systemctl("restart")
            assert any(line.startswith("stopped drained=true unfinished_events=0") for line in service.journal())
            service.wait_status("4 partitions")
        made = feeder.stop()
        wait_until(service.all_committed, "all is committed", 60)
    finally:
        feeder._stopping.set()
    service.systemctl("stop")
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
    copies = read_topics(service.kafka.bootstrap, service.typed)
    assert set(copies.by_id) == {each.id for each in made}
    assert sum(copies.by_id.values()) == len(copies.by_id), "events are doubled"


def test_a_drain_that_needs_longer_than_the_stop_time_out_is_let_end(service: Service):
    service.configure(pipeline={"drain_timeout_ms": 3000})
    service.drop_in(TimeoutStopSec=2, WatchdogSec=2)
    service.start_working()
    service.redis_node.freeze()
    try:
        feed(service.kafka.bootstrap, 0, 500, service.input)
        wait_until(lambda: sum(service.kafka.ends(service.topics["logs"]).values()) > 0, "some are in flight")
        begun_s = time.monotonic()
        service.systemctl("stop")
        assert time.monotonic() - begun_s > 3
    finally:
        service.redis_node.thaw()
    # It ended by itself, with what was not finished left to Kafka; systemd did not kill it.
    assert (service.show("Result"), service.show("ExecMainCode")) == ("exit-code", "1")
    assert any(line.startswith("stopped drained=false") for line in service.journal())


def test_a_bad_config_fails_once_and_says_what_to_mend(service: Service):
    service.configure(kafka={"group_idd": "x"})
    assert service.systemctl("start", check=False) == 1
    # No restart is pending: the unit is failed, and not activating.
    assert (service.show("ActiveState"), service.show("ExecMainStatus")) == ("failed", "78")
    assert service.show("NRestarts") == "0"
    errors = service.journal(priority="err")
    assert any(line.endswith(": kafka.group_idd: unknown key (did you mean group_id?)") for line in errors)
    assert "ingestd: 1 problem in /etc/ingestd/config.yaml" in errors


def test_secrets_come_from_the_folder_or_as_credentials(service: Service):
    service.redis().acl_setuser("lab", enabled=True, passwords=["+hush"], keys=["*"], categories=["+@all"])
    service.lab.write("/etc/ingestd/secrets/redis_password", "hush\n")
    service.lab.run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/ingestd.conf")
    path = service.lab.root / "etc/ingestd/secrets/redis_password"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    service.configure(redis={"username": "lab", "password_file": "/etc/ingestd/secrets/redis_password"})
    service.start_working()
    service.systemctl("stop")

    path.chmod(0o600)
    service.lab.run("chown", "root:root", "/etc/ingestd/secrets/redis_password")
    example = (UNITS / "credentials.conf.example").read_text()
    service.drop_in("\n".join(line for line in example.splitlines() if "kafka_password" not in line))
    service.configure(redis={"username": "lab", "password_file": "redis_password"})
    service.start_working()
    service.systemctl("reload")
    wait_until(lambda: any(line.startswith("config reloaded") for line in service.journal()), "it is reloaded", 10)
