"""One lab, one broker and one Redis for the lane; a test gets topics, a group and a database of its own."""

import itertools
from collections.abc import Iterator

import pytest

from tests.support.kafka_node import KafkaNode
from tests.support.redis_node import RedisNode
from tests.support.systemd_service import InstalledLab, Service

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def installed() -> Iterator[InstalledLab]:
    lab = InstalledLab()
    try:
        yield lab.start()
    finally:
        lab.stop()


@pytest.fixture(scope="session")
def lane_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """A broker that a test of this lane may stop, if it starts it again."""
    node = KafkaNode(tmp_path_factory.mktemp("kafka")).start()
    yield node
    node.kill()


@pytest.fixture(scope="session")
def lane_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisNode]:
    node = RedisNode(tmp_path_factory.mktemp("redis"), keep_data=True, extra=("--databases", "64")).start()
    yield node
    node.stop()


@pytest.fixture
def service(
    installed: InstalledLab, lane_kafka: KafkaNode, lane_redis: RedisNode, request: pytest.FixtureRequest
) -> Iterator[Service]:
    number = next(_numbers)
    one = Service(installed.lab, lane_kafka, lane_redis, f"lab{number}", number)
    yield one
    if getattr(request.node, "failed_call", False):
        print("\n".join(one.journal()))
    one.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.failed_call = report.failed
    return report
