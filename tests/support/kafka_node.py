"""One Apache Kafka broker from Maven's jars, in KRaft mode, on free ports, in a folder of its own."""

import os
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.paths import ROOT
from tests.support.ports import free_ports
from tests.support.wait import wait_until

LIBS = ROOT / ".cache" / "kafka" / "libs"
POM = ROOT / "tests" / "support" / "kafka" / "pom.xml"

# librdkafka does not call these retriable when they answer a question about a group; the first group of a new broker
# meets them while the offsets topic is made.
COORDINATOR_MOVES = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
log.dirs={logs}
num.partitions=4
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=200
group.consumer.heartbeat.interval.ms=500
group.consumer.session.timeout.ms=6000
log.retention.check.interval.ms=1000
auto.create.topics.enable=false
message.max.bytes=10485760
"""


def missing() -> str | None:
    """What this machine lacks for the real lane, or None."""
    for program, package in (("java", "default-jre-headless"), ("mvn", "maven")):
        if shutil.which(program) is None:
            return f"{program} is not there: apt-get install {package}"
    return None


def fetch_jars() -> None:
    """Kafka's jars by Maven, once: about 10 s and 54 MB."""
    if any(LIBS.glob("kafka_2.13-*.jar")):
        return
    subprocess.run(
        ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={LIBS}"],
        check=True,
        stdout=sys.stderr,  # what it has to say would stand in front of a --json answer
        timeout=600,
        stdin=subprocess.DEVNULL,
    )


class KafkaNode:
    """Start, stop, kill, freeze. Data stays in `folder` from one start to the next."""

    def __init__(self, folder: Path) -> None:
        fetch_jars()
        self.folder = folder
        broker, controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{broker}"
        self.process: subprocess.Popen[bytes] | None = None
        self._watchers: dict[str, Consumer] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.properties = folder / "server.properties"
        self.properties.write_text(PROPERTIES.format(broker=broker, controller=controller, logs=folder / "data"))
        self._java("kafka.tools.StorageTool", "format", "-t", uuid.uuid4().hex[:22], "-c", str(self.properties))

    def _command(self, *words: str) -> list[str]:
        return [
            "java",
            "-Xmx768m",
            "-Xms256m",
            "-XX:+UseG1GC",
            f"-Dlog4j2.configurationFile={self._log_config()}",
            "-cp",
            f"{LIBS}/*",
            *words,
        ]

    def _log_config(self) -> Path:
        path = self.folder / "log4j2.yaml"
        path.write_text("Configuration:\n  Loggers:\n    Root:\n      level: error\n")
        return path

    def _java(self, *words: str) -> str:
        done = subprocess.run(
            self._command(*words), capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise RuntimeError(f"{words[0]} failed: {done.stdout[-2000:]} {done.stderr[-2000:]}")
        return done.stdout

    def start(self) -> "KafkaNode":
        with open(self.folder / "broker.log", "ab") as log:
            self.process = subprocess.Popen(
                self._command("kafka.Kafka", str(self.properties)), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.wait_ready()
        return self

    def wait_ready(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

        def answers() -> bool:
            assert self.process is not None and self.process.poll() is None, "the broker ended: see broker.log"
            try:
                return bool(admin.list_topics(timeout=1).brokers)
            except KafkaException:
                return False

        wait_until(answers, "Kafka answers", 60)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def _end(self, number: int) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        self.process = None

    @property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def create_topics(self, names: list[str], partitions: int = 4, config: dict[str, str] | None = None) -> None:
        admin = self.admin  # kept: its futures die with it
        made = admin.create_topics([NewTopic(name, partitions, 1, config=config or {}) for name in names])
        for future in made.values():
            future.result(30)

    def ends(self, topic: str) -> dict[int, int]:
        """End offset by partition."""
        return self._watermarks(topic, 1)

    def begins(self, topic: str) -> dict[int, int]:
        return self._watermarks(topic, 0)

    def _watermarks(self, topic: str, which: int) -> dict[int, int]:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "watermarks", "log_level": 0})
        try:
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[which] for p in partitions}
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """What the group has committed, by partition; -1001 where nothing. Waits for the coordinator."""
        partitions = self._watcher(group).list_topics(topic, timeout=10).topics[topic].partitions

        def ask() -> dict[int, int] | None:
            try:
                rows = self._watcher(group).committed([TopicPartition(topic, p) for p in partitions], timeout=10)
            except KafkaException as error:
                if error.args[0].retriable() or error.args[0].code() in COORDINATOR_MOVES:
                    return None
                raise
            return {row.partition: row.offset for row in rows}

        return wait_until(ask, "the coordinator answers", 30)

    def group_lag(self, group: str) -> dict[tuple[str, int], int]:
        """What Kafka's own kafka-consumer-groups says of a group, by partition; 0 where it says nothing."""
        tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
        text = self._java(tool, "--bootstrap-server", self.bootstrap, "--describe", "--group", group)
        header, *rows = [line.split() for line in text.splitlines() if line.strip() and "has no active" not in line]
        assert header[:3] == ["GROUP", "TOPIC", "PARTITION"], text
        place = header.index("LAG")
        return {(row[1], int(row[2])): 0 if row[place] == "-" else int(row[place]) for row in rows}

    def _watcher(self, group: str) -> Consumer:
        """A client that never joins the group. Kept: making one costs more than the question."""
        if group not in self._watchers:
            self._watchers[group] = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "log_level": 0})
        return self._watchers[group]
