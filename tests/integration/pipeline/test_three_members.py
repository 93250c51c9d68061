"""Members join and leave under load, in each of the three rebalance protocols. Nothing is missing, nothing doubled."""

import pytest

from tests.support.daemon_process import ALL_TOPICS, INPUT, DaemonProcess
from tests.support.feed import Feeder
from tests.support.kafka_node import KafkaNode
from tests.support.redis_node import RedisNode
from tests.support.verify import read_topics
from tests.support.wait import wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]
RATE = 6000
PARTITIONS = 6
PROTOCOLS = {
    "cooperative": {},
    "eager": {"consumer_options": {"partition.assignment.strategy": "range"}},
    "consumer": {"group_protocol": "consumer"},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_member_that_joins_and_one_that_leaves_cost_no_event_and_no_copy(
    own_kafka: KafkaNode, redis_node: RedisNode, tmp_path, protocol: str
):
    own_kafka.create_topics(ALL_TOPICS, PARTITIONS)
    members = [
        DaemonProcess(tmp_path / f"member-{number}", own_kafka.bootstrap, redis_node.url, kafka=PROTOCOLS[protocol])
        for number in range(3)
    ]
    feeder = Feeder(own_kafka.bootstrap, RATE, PARTITIONS)
    try:
        for member in members[:2]:
            member.start().wait_joined()
        feeder.start()
        wait_until(lambda: all(member.column("delivered") > 3000 for member in members[:2]), "two are at work", 90)
        members[2].start().wait_joined()
        wait_until(lambda: members[2].column("delivered") > 3000, "the third has its share", 90)
        assert members[0].stop() == 0, members[0].log_tail()
        seen = members[1].column("delivered") + members[2].column("delivered")
        wait_until(
            lambda: members[1].column("delivered") + members[2].column("delivered") > seen + 5000,
            "the two that stayed go on",
            90,
        )
        made = feeder.stop()
        wait_until(lambda: own_kafka.committed("ingestd", INPUT) == own_kafka.ends(INPUT), "all is committed", 120)
        for member in members[1:]:
            assert member.stop() == 0, member.log_tail()
    finally:
        feeder._stopping.set()
        for member in members:
            member.kill()
    for member in members:
        assert member.state()["balanced"]
    copies = read_topics(own_kafka.bootstrap)
    assert {each.id for each in made} - set(copies.by_id) == set(), "events are missing"
    doubled = sum(copies.by_id.values()) - len(copies.by_id)
    assert doubled == 0, f"{doubled} events are doubled"
    assert sum(account["abandoned"] for m in members for account in m.state()["books"].values()) == 0
