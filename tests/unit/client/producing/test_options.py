"""The options of a producer: defaults, what is passed on, and what may not be set."""

import pytest

from ingestd.client import Producer
from ingestd.client.producing.options import ProducerOptions, settle
from ingestd.config.kafka_producers import REFUSED_FOR_CLIENT


def test_defaults():
    found = settle(["a:1", "b:2"], "checkout", {})
    assert found.librdkafka["bootstrap.servers"] == "a:1,b:2" and found.librdkafka["client.id"] == "checkout"
    assert found.librdkafka["acks"] == "all" and found.librdkafka["enable.idempotence"] == "true"
    assert found.librdkafka["message.max.bytes"] == "1114112"
    assert (found.queue_timeout_s, found.close_timeout_s, found.event_bytes_max) == (10, 30, 1048576)


def test_keywords_become_librdkafkas_options():
    found = settle(
        "a:1",
        "s",
        {
            "linger_ms": 1,
            "queue_events_max": 7,
            "queue_mib_max": 2,
            "delivery_timeout_s": 1.5,
            "compression": "zstd",
            "client_id": "me",
            "librdkafka": {"security.protocol": "ssl"},
        },
    ).librdkafka
    assert found["linger.ms"] == "1" and found["queue.buffering.max.messages"] == "7"
    assert found["queue.buffering.max.kbytes"] == "2048" and found["message.timeout.ms"] == "1500"
    assert found["compression.type"] == "zstd" and found["client.id"] == "me" and found["security.protocol"] == "ssl"


@pytest.mark.parametrize("name", REFUSED_FOR_CLIENT)
def test_what_the_promises_rest_on_may_not_be_set(name: str):
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        settle("a:1", "s", {"librdkafka": {name: "x"}})


def test_every_option_is_described():
    for name in ProducerOptions.__annotations__:
        assert name in (ProducerOptions.__doc__ or "")


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="linger_s"):
        Producer("a:1", "t", "s", linger_s=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="No such configuration property"):
        Producer("a:1", "t", "s", librdkafka={"no.such": 1})
    with pytest.raises(ValueError, match=r"client\.rack: \['a'\] is not a string"):
        Producer("a:1", "t", "s", librdkafka={"client.rack": ["a"]})
    with pytest.raises(ValueError, match="oauth_cb: 'x' can't be called"):
        Producer("a:1", "t", "s", librdkafka={"oauth_cb": "x"})
    with pytest.raises(ValueError, match="brokers"):
        Producer([], "t", "s")
    with pytest.raises(ValueError, match="topic"):
        Producer("a:1", "", "s")
    with pytest.raises(ValueError, match="service"):
        Producer("a:1", "t", "")
