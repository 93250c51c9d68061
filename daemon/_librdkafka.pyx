# distutils: language = c
# cython: language_level=3
"""Native Kafka consumer and producers, on the librdkafka of the confluent-kafka wheel.

The library is opened by its file and resolved by name: nothing is linked, and one librdkafka is in the process. The
daemon's records cross this module in batches, without a Python object for each.

librdkafka's threads fetch and send, and never run code of ours: what they have to report waits in one of its queues.
The daemon's queues write to an eventfd, which wakes the event loop; the client library has a thread that waits on its
queue. The two callbacks, for delivery reports and errors of the daemon's producer, run inside the call that polls the
queue, on the loop's thread, and only touch C memory.

There is no lock here. State of a Consumer or a Producer belongs to the loop's thread. A Sender is called by many
threads: its counts are kept by the interpreter's lock, and what must not overlap is kept apart by its caller.

Parts, which make one C file:
  symbols    librdkafka's functions, structs and constants, found at import    errors     error codes by name
  handle     one rd_kafka_t: options, queues, eventfds, tear-down              probe      checks a struct's layout
  consumer   the daemon's input                                               admin      questions that wait
  producer   the daemon's output                                              grouping   the order of its sends
  sender     the client library's output                                      records    the records it makes
  mock       librdkafka's mock cluster
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from ._abi cimport (
    SEND_DEAD, SEND_DELIVERED, SEND_FAILED, SEND_HEADERS, SEND_PENDING, SEND_STUB, SEND_WAITING,
    batch_t, message_t, record_t, send_t, run_t,
)
from ._fastpath cimport (
    CORRELATION_ID, LEVEL, SERVICE, SPAN_ID, TRACE_ID, TYPE, Batch, PlainCheck, is_header_id,
)

import os
from enum import IntEnum
from typing import NamedTuple

import confluent_kafka.cimpl

from .errors import KafkaFailure, NativeEdgeError

include "librdkafka/symbols.pxi"
include "librdkafka/errors.pxi"
include "librdkafka/handle.pxi"
include "librdkafka/consumer.pxi"
include "librdkafka/admin.pxi"
include "librdkafka/grouping.pxi"
include "librdkafka/producer.pxi"
include "librdkafka/records.pxi"
include "librdkafka/sender.pxi"
include "librdkafka/mock.pxi"
include "librdkafka/probe.pxi"

resolve()
probe_message_layout()
