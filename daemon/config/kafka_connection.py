"""What every handle of librdkafka needs to reach the cluster: brokers, security, and the options that go with them.

The home of what a producer takes is `kafka_producers`, of what a consumer takes `kafka_consumers`; both build on this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from .secrets import read_secret, secret_path

# A program that only publishes or consumes has no config, and does not load its schema.
if TYPE_CHECKING:
    from .schema import Config, KafkaConfig

# The record around a value: key, headers, and the dead letter's own headers.
RECORD_MARGIN_BYTES: Final = 64 * 1024
# The default of 10 s keeps a restarted broker waiting for its client.
RECONNECT: Final = {"reconnect.backoff.max.ms": "2000"}
# Options of the user that decide whether a broker is reached at all, whoever asks it. `oauth_cb` is a callable, which
# the handles of programs may have.
CONNECTION_NAMES: Final = ("oauth_cb",)
CONNECTION_PREFIXES: Final = (
    "api.version.",
    "broker.",
    "client.dns.",
    "connections.",
    "enable.sasl.",
    "enable.ssl.",
    "https.",
    "metadata.recovery.",
    "plugin.",
    "receive.",
    "reconnect.",
    "sasl.",
    "security.",
    "socket.",
    "ssl.",
    "ssl_",
)


def servers_text(brokers: str | Iterable[str]) -> str:
    """Brokers as librdkafka reads them."""
    return brokers if isinstance(brokers, str) else ",".join(brokers)


def connection_part(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the user's options that another handle to the same brokers needs too."""
    return {
        name: value
        for name, value in options.items()
        if name in CONNECTION_NAMES or name.startswith(CONNECTION_PREFIXES)
    }


def message_bytes_max(config: Config) -> int:
    """The largest record that is produced: the largest event with its headers."""
    return config.pipeline.event_bytes_max + RECORD_MARGIN_BYTES


def security_options(kafka: KafkaConfig) -> dict[str, str]:
    """`kafka.security`, with the secrets of its files as they are now."""
    security = kafka.security
    files = {
        "ssl.ca.location": security.ca_file,
        "ssl.certificate.location": security.cert_file,
        "ssl.key.location": security.key_file,
    }
    options = {"security.protocol": security.protocol}
    options |= {key: str(secret_path(value)) for key, value in files.items() if value}
    if security.key_password_file:
        options["ssl.key.password"] = read_secret(security.key_password_file)
    if security.sasl_mechanism:
        options["sasl.mechanism"] = security.sasl_mechanism
    if security.sasl_username:
        options["sasl.username"] = security.sasl_username
    if security.sasl_password_file:
        options["sasl.password"] = read_secret(security.sasl_password_file)
    return options


def daemon_connection_options(kafka: KafkaConfig, client_id: str) -> dict[str, str]:
    """What both of the daemon's handles begin with. Each adds the user's options of its own side."""
    options = {"bootstrap.servers": servers_text(kafka.brokers), "client.id": client_id}
    return options | RECONNECT | security_options(kafka)


def side_connection_options(kafka: KafkaConfig, client_id: str) -> dict[str, str]:
    """For a handle beside the daemon's two, which has no options of its own in the config: admin, record times,
    compare. What the user wrote to reach the brokers, for the consumer or the producer, holds for it too."""
    return daemon_connection_options(kafka, client_id) | connection_part(
        kafka.consumer_options | kafka.producer_options
    )


def admin_options(kafka: KafkaConfig, brokers: Sequence[str] | None = None) -> dict[str, str]:
    """For questions of the command line to a cluster, or to some of its brokers."""
    options = side_connection_options(kafka, f"{kafka.client_id or 'ingestd'}-control")
    if brokers is not None:
        options["bootstrap.servers"] = servers_text(brokers)
    # What is wrong is said by the verb.
    return options | {"log_level": "0"}


def service_connection_options(kafka: KafkaConfig) -> dict[str, str]:
    """For the producer of a service that publishes by the daemon's config; brokers and name are arguments of it."""
    return security_options(kafka) | connection_part(kafka.producer_options)
