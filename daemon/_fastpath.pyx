# distutils: language = c
# cython: language_level=3
"""Checks, routes and indexes the events of one batch: the compiled core. No socket, no clock, no config, no logger.

What it is given are pointers to records that librdkafka holds; what it leaves in the batch are sends (which record goes
to which topic, under which key) and the bytes of all Redis commands. Of a plain event no Python object is made.
`process_batch` in process.pxi is where to begin; tests/support/model.py does the same in short, slow Python.

The parts are included, and not modules of their own, as one C file is inlined into one loop. In the order in which they
need each other:

    words, utf8, timestamp      names of types and levels, strict UTF-8, RFC 3339
    memory, batch               the batch's arrays, who owns them, and what Python may ask of them
    resp, index_cache, replies  Redis: commands as bytes, which TTLs are due, what came back
    scan, event                 one event read without objects, and by msgspec where that is not enough
    text_set, rules             the rules as masks and sets of bytes, and the walk through them
    error_counts                error logs by service
    process                     the loop over one batch
    match, plain_event, stamps  what the client library asks of the same code

The GIL is held throughout: a batch takes about 3 ms, and everything in it belongs to the loop's thread.
"""

cimport cython
from cpython.buffer cimport PyBUF_READ, PyBUF_WRITE, PyBuffer_FillInfo
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memcpy, memmove, memset, strlen

from ._abi cimport (
    SEND_DEAD, SEND_HEADERS, SEND_WAITING, batch_t, converted_t, message_t, record_t, send_t, run_t,
)

from collections import deque
from hashlib import sha256
from types import MemberDescriptorType
from typing import NamedTuple

import msgspec

from .errors import RedisProtocolError

cdef extern from "string.h":
    size_t strnlen(const char *text, size_t size_max) noexcept nogil

cdef extern from "Python.h":
    void Py_XDECREF(PyObject *value) noexcept

cdef extern from *:
    bint FASTPATH_DEBUG

cdef enum:
    FAULT_NONE
    TOMBSTONE
    TOO_LARGE
    INVALID_UTF8
    NOT_JSON
    TOO_DEEP
    WRONG_FIELD_TYPE
    UNKNOWN_TYPE
    UNKNOWN_LEVEL
    BAD_TIMESTAMP
    REJECTED_BY_KAFKA
    REJECTED_BY_REDIS
    WRONG_SHAPE

cdef enum:
    INDEX_TTL_MARGIN_S = 3600     # as events/vocabulary.py has it; a test compares them

include "fastpath/words.pxi"
include "fastpath/utf8.pxi"
include "fastpath/timestamp.pxi"
include "fastpath/memory.pxi"
include "fastpath/resp.pxi"
include "fastpath/index_cache.pxi"
include "fastpath/replies.pxi"
include "fastpath/scan.pxi"
include "fastpath/text_set.pxi"
include "fastpath/error_counts.pxi"
include "fastpath/event.pxi"
include "fastpath/rules.pxi"
include "fastpath/batch.pxi"
include "fastpath/process.pxi"
include "fastpath/match.pxi"
include "fastpath/plain_event.pxi"
include "fastpath/stamps.pxi"


cdef text_t as_text(bytes value):
    cdef text_t text
    text.data, text.size = value, len(value)
    return text


# The numbers that events/vocabulary.py must agree with; a test compares them.
VOCABULARY = {
    "types": {"LOG": LOG, "METRIC": METRIC, "ALERT": ALERT, "TRACE": TRACE, "HEALTH": HEALTH},
    "levels": {"DEBUG": DEBUG, "INFO": INFO, "WARNING": WARNING, "ERROR": ERROR, "FATAL": FATAL},
    "actions": {
        "DROP": DROP, "KEEP": KEEP, "ROUTE": ROUTE, "COPY": COPY, "SAMPLE": SAMPLE, "NO_STORE": NO_STORE,
    },
    "partition_by": {"TRACE": BY_TRACE, "CORRELATION": BY_CORRELATION, "NONE": BY_NONE},
    "verdicts": {"ROUTED": VERDICT_ROUTED, "DROPPED": VERDICT_DROPPED, "DEAD": VERDICT_DEAD},
    "faults": {
        "NONE": FAULT_NONE, "TOMBSTONE": TOMBSTONE, "TOO_LARGE": TOO_LARGE, "INVALID_UTF8": INVALID_UTF8,
        "NOT_JSON": NOT_JSON, "TOO_DEEP": TOO_DEEP, "WRONG_FIELD_TYPE": WRONG_FIELD_TYPE,
        "UNKNOWN_TYPE": UNKNOWN_TYPE, "UNKNOWN_LEVEL": UNKNOWN_LEVEL, "BAD_TIMESTAMP": BAD_TIMESTAMP,
        "REJECTED_BY_KAFKA": REJECTED_BY_KAFKA, "REJECTED_BY_REDIS": REJECTED_BY_REDIS,
        "WRONG_SHAPE": WRONG_SHAPE,
    },
    "limits": {
        "TOPICS_PER_EVENT_MAX": TOPICS_PER_EVENT_MAX, "DEAD_LETTER_TOPIC_INDEX": DEAD_LETTER_TOPIC,
        "INDEX_TTL_MARGIN_S": INDEX_TTL_MARGIN_S, "TAPS_MAX": TAPS_MAX, "RECORD_OVERHEAD_BYTES": RECORD_OVERHEAD_BYTES,
        "ERROR_SERVICES_MAX": ERROR_SERVICES_MAX, "ERROR_NAME_BYTES_MAX": ERROR_NAME_BYTES_MAX,
    },
    "flags": {"SEND_HEADERS": SEND_HEADERS, "SEND_DEAD": SEND_DEAD},
}
