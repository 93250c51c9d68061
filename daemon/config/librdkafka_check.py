"""Lets librdkafka itself judge the options of a config. Reaches no cluster.

Every option is set on a configuration object, then a handle without a broker is made of all of them: so what does not
go together is found too, and certificates that can't be read.
"""

import ctypes
import difflib
import os
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import confluent_kafka.cimpl
import msgspec

from ..errors import Problem
from . import kafka_consumers, kafka_producers, scalars
from .nodes import shortened
from .schema import Config, SecurityConfig

PRODUCER, CONSUMER = 0, 1  # rd_kafka_type_t
CONF_UNKNOWN, CONF_OK = -2, 0  # rd_kafka_conf_res_t
TEXT_BYTES = 512
KIND_FOR_CODE: Final = "see dedicated API"

# Options that are derived from a key of the config: what librdkafka says of them is reported there.
DERIVED: Final = {
    "bootstrap.servers": "kafka.brokers",
    "client.id": "kafka.client_id",
    "group.id": "kafka.group_id",
    "group.instance.id": "kafka.group_instance_id",
    "group.protocol": "kafka.group_protocol",
    "client.rack": "kafka.rack",
    "security.protocol": "kafka.security.protocol",
    "ssl.ca.location": "kafka.security.ca_file",
    "ssl.certificate.location": "kafka.security.cert_file",
    "ssl.key.location": "kafka.security.key_file",
    "ssl.key.password": "kafka.security.key_password_file",
    "sasl.mechanism": "kafka.security.sasl_mechanism",
    "sasl.username": "kafka.security.sasl_username",
    "sasl.password": "kafka.security.sasl_password_file",
    "auto.commit.interval.ms": "pipeline.commit_interval_ms",
    "message.max.bytes": "pipeline.event_bytes_max",
    "queue.buffering.max.messages": "pipeline.in_flight_events_max",
    "queue.buffering.max.kbytes": "pipeline.memory_limit_mib",
    "queued.max.messages.kbytes": "pipeline.memory_limit_mib",
    "fetch.max.bytes": "pipeline.memory_limit_mib",
}
_KIND: Final = re.compile(r"\*Type: ([^*]+)\*")
_BEGINS_AS_NUMBER: Final = re.compile(r"\s*[-+]?\.?[0-9]")
# They choose a way to log in, which other options are then for. So they are suspected last, and together.
LOGIN: Final = ("sasl.mechanism", "sasl.mechanisms", "security.protocol")
# A handle is made without these: a broker would be dialled, and debugging would write on the terminal.
NOT_FOR_THE_TRIAL = ("bootstrap.servers", "debug", "log_level", "statistics.interval.ms")


class Option(NamedTuple):
    """A line of librdkafka's table. `side`: C, P or *. `kind`: integer, float, boolean, string, enum value ..."""

    side: str
    values: str
    kind: str

    @property
    def for_code(self) -> bool:
        """It holds a pointer, which no text can set."""
        return self.kind == KIND_FOR_CODE


class Library:
    """The few functions that are needed, from the librdkafka inside confluent-kafka."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(confluent_kafka.cimpl.__file__, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
        pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
        self.version_str = self._function("rd_kafka_version_str", text)
        self.conf_new = self._function("rd_kafka_conf_new", pointer)
        self.conf_destroy = self._function("rd_kafka_conf_destroy", None, pointer)
        self.conf_set = self._function("rd_kafka_conf_set", ctypes.c_int, pointer, text, text, text, size)
        self.properties_show = self._function("rd_kafka_conf_properties_show", None, pointer)
        self.new = self._function("rd_kafka_new", pointer, ctypes.c_int, pointer, text, size)
        self.destroy = self._function("rd_kafka_destroy", None, pointer)

    def _function(self, name, result, *arguments):
        function = getattr(self._library, name)
        function.restype, function.argtypes = result, list(arguments)
        return function

    @property
    def version(self) -> str:
        return self.version_str().decode()

    def table(self) -> dict[str, Option]:
        """Every option by name, aliases too, from the table that librdkafka prints."""
        libc = ctypes.CDLL(None)
        libc.open_memstream.restype = ctypes.c_void_p
        buffer, buffer_bytes = ctypes.c_void_p(), ctypes.c_size_t()
        stream = ctypes.c_void_p(libc.open_memstream(ctypes.byref(buffer), ctypes.byref(buffer_bytes)))
        self.properties_show(stream)
        libc.fclose(stream)
        printed = ctypes.string_at(buffer, buffer_bytes.value).decode(errors="replace")
        libc.free(buffer)
        rows = ([cell.strip() for cell in line.split("|")] for line in printed.splitlines())
        return {
            row[0]: Option(row[1], row[2], kind[1] if (kind := _KIND.search(row[-1])) else "")
            for row in rows
            if len(row) >= 6 and row[1] in ("C", "P", "*")
        }

    def set_all(self, options: dict[str, str]) -> tuple[int, dict[str, tuple[int, str]]]:
        """A configuration object (the caller's to destroy), and what librdkafka said of each option it refused."""
        conf, text = self.conf_new(), ctypes.create_string_buffer(TEXT_BYTES)
        refused = {}
        for key, value in options.items():
            result = self.conf_set(conf, key.encode(), value.encode(), text, TEXT_BYTES)
            if result != CONF_OK:
                refused[key] = (result, text.value.decode(errors="replace").strip())
        return conf, refused

    def trial(self, kind: int, options: dict[str, str]) -> str | None:
        """Make a handle and destroy it again. Why librdkafka would not, or None."""
        conf, _ = self.set_all(
            {key: value for key, value in options.items() if key not in NOT_FOR_THE_TRIAL} | {"log_level": "0"}
        )
        text = ctypes.create_string_buffer(TEXT_BYTES)
        handle = self.new(kind, conf, text, TEXT_BYTES)
        if handle:
            self.destroy(handle)
            return None
        self.conf_destroy(conf)
        return text.value.decode(errors="replace").strip()


class OptionsReport(NamedTuple):
    """What was found, and how many options were looked at."""

    problems: list[Problem]
    warnings: list[Problem]
    option_count: int
    version: str


def check(config: Config, files_are_there: bool = True) -> OptionsReport:
    """Both handles' options. Without the files that the config names, security is left out."""
    library = Library()
    table = library.table()
    config = _without_refused(config, files_are_there)
    problems: list[Problem] = []
    warnings: list[Problem] = []
    option_count = 0
    for kind, section, options, given in (
        (
            CONSUMER,
            "consumer_options",
            kafka_consumers.daemon_consumer_options(config, "ingestd"),
            config.kafka.consumer_options,
        ),
        (
            PRODUCER,
            "producer_options",
            kafka_producers.daemon_producer_options(config, "ingestd"),
            config.kafka.producer_options,
        ),
    ):
        conf, refused = library.set_all(options)
        library.conf_destroy(conf)
        found = [
            _refusal(_path(key, section, given), key, code, text, table, library.version)
            for key, (code, text) in refused.items()
        ]
        found += _half_read(section, {key: given[key] for key in given.keys() - refused.keys()}, table)
        if not found and (text := library.trial(kind, options)) is not None:
            found.append(Problem(_culprit(library, kind, section, options, given), text))
        # What both handles share is said once.
        problems += [problem for problem in found if problem not in problems]
        warnings += _wrong_side(kind, section, given.keys() - refused.keys(), table)
        option_count += len(options)
    return OptionsReport(problems, warnings, option_count, library.version)


def _without_refused(config: Config, files_are_there: bool) -> Config:
    """Options that may not be set are reported by `checks`; here they would only make others look wrong."""
    kafka = config.kafka
    changes = {
        "consumer_options": {
            k: v for k, v in kafka.consumer_options.items() if k not in kafka_consumers.REFUSED_FOR_DAEMON
        },
        "producer_options": {
            k: v for k, v in kafka.producer_options.items() if k not in kafka_producers.REFUSED_FOR_DAEMON
        },
    }
    if not files_are_there:
        changes["security"] = SecurityConfig()
    return msgspec.structs.replace(config, kafka=msgspec.structs.replace(kafka, **changes))


def _path(key: str, section: str, given: dict[str, str]) -> str:
    return f"kafka.{section}.{key}" if key in given else DERIVED.get(key, f"kafka.{section}.{key}")


def _culprit(library: Library, kind: int, section: str, options: dict[str, str], given: dict[str, str]) -> str:
    """The key without which librdkafka would make the handle; what the user wrote as an option is suspected first.

    Found by trying, as librdkafka's sentence names options or does not, in words that change.
    """
    left = dict(options)
    for key in (*given, *(key for key in DERIVED if key not in given)):
        if key in left and key not in LOGIN:
            del left[key]
            if library.trial(kind, left) is None:
                return _path(key, section, given)
    chosen = [key for key in LOGIN if left.pop(key, None) is not None]
    if chosen and library.trial(kind, left) is None:
        return _path(chosen[0], section, given)
    return f"kafka.{section}"


def _refusal(path: str, key: str, code: int, text: str, table: dict[str, Option], version: str) -> Problem:
    if code == CONF_UNKNOWN:
        near = difflib.get_close_matches(key, table, 1)
        mend = f"did you mean {near[0]}?" if near else "leave it out"
        return Problem(path, f"librdkafka {version} has no such option", mend)
    values = table[key].values if key in table else ""
    is_for_code = key in table and table[key].for_code
    return Problem(path, text, f"allowed: {values}" if values else "leave it out" if is_for_code else "")


def _half_read(section: str, given: dict[str, str], table: dict[str, Option]) -> Iterator[Problem]:
    """librdkafka reads as many digits as there are, in octal behind a zero, and takes `4MiB` for 4."""
    for key, text in sorted(given.items()):
        kind = table[key].kind if key in table else ""
        if kind not in ("integer", "float") or not _BEGINS_AS_NUMBER.match(text):
            continue
        try:
            (scalars.read_int if kind == "integer" else scalars.read_float)(text)
        except scalars.Unreadable as error:
            words = {"integer": "whole number", "float": "number"}[kind]
            mend = str(error) or f"allowed: {table[key].values}"
            yield Problem(
                f"kafka.{section}.{key}", f"'{shortened(text)}' is no {words}: librdkafka would read a part of it", mend
            )


def _wrong_side(kind: int, section: str, given: set[str], table: dict[str, Option]) -> Iterator[Problem]:
    own, other, place = ("C", "a producer", "producer") if kind == CONSUMER else ("P", "a consumer", "consumer")
    for key in sorted(given):
        if key in table and table[key].side not in (own, "*"):
            yield Problem(
                f"kafka.{section}.{key}",
                f"is an option of {other} and does nothing here",
                f"move it to kafka.{place}_options, or leave it out",
            )
