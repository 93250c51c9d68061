# distutils: language = c
# cython: language_level=3
"""The native edge. librdkafka's handles behind three classes; batches of records and sends cross it, nothing smaller.

The library is the one inside the confluent-kafka wheel, opened by its file and resolved by name: nothing is linked.
Every event of librdkafka is taken from a queue whose eventfd wakes the loop. The one callback, for delivery reports,
counts in C memory while a queue is polled.
Parts: symbols, handle, consumer, admin, grouping, producer, records, sender, mock, probe.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from ._abi cimport (
    SEND_DEAD, SEND_DELIVERED, SEND_FAILED, SEND_HEADERS, SEND_PENDING, SEND_STUB, SEND_WAITING,
    batch_t, message_t, record_t, send_t, run_t,
)
from ._fastpath cimport (
    CORRELATION_ID, LEVEL, SERVICE, SPAN_ID, TRACE_ID, TYPE, Batch, PlainCheck, is_header_id,
)

import os
from typing import NamedTuple

import confluent_kafka.cimpl

from .errors import KafkaFailure, NativeEdgeError

include "librdkafka/symbols.pxi"
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
