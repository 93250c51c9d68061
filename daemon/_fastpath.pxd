# What the native edge may see of the compiled core: the batch that it fills, and the check of a program's own events.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from ._abi cimport batch_t, record_t, run_t

# The fields of an event that are looked at, in the order of EVENT_FIELDS; those before TEXT_COUNT are texts.
cdef enum:
    ID
    TYPE
    LEVEL
    SERVICE
    COMPONENT
    MESSAGE
    TIMESTAMP
    CORRELATION_ID
    TRACE_ID
    SPAN_ID
    TEXT_COUNT
    LABELS = TEXT_COUNT
    METADATA
    FIELD_COUNT

cdef enum:
    SECONDS_TEXT = 19             # `2026-11-24T09:01:01`

ctypedef void (*release_fn)(batch_t *batch) noexcept


cdef bint is_header_id(const char *value, size_t size) noexcept nogil


cdef class Batch:
    cdef batch_t b
    cdef release_fn release_records      # set by who filled it; gives the messages back
    cdef list references                 # keeps test records and converted values alive
    cdef list trims                      # indexes of the ZREMRANGEBYRANK replies
    cdef Py_ssize_t sends_counted           # those before it were in take_sent_counts
    cdef readonly Py_ssize_t events_max
    cdef public int batch_id             # the engine's number, and what the ledger calls it
    cdef public int owes                 # sinks that have not finished, as bits
    cdef public double taken_at_s        # monotonic, set by the engine
    cdef public object refused_records   # indexes of those that Redis refused for good, or None
    cdef public object table             # the RouteTable that it was processed with

    cdef void clear_counts(self) noexcept
    cdef int add_run(
        self, void *rkt, const char *topic, uint32_t source_topic_index, int32_t partition, int64_t offset,
        bint index_only,
    ) except -1
    cdef object describe(self, Py_ssize_t record_index)
    cdef int append_send(self, Py_ssize_t record_index, uint16_t topic, uint8_t flags, int fault) except -1


cdef class PlainCheck:
    cdef object struct                   # the class of events
    cdef Py_ssize_t offsets[FIELD_COUNT]
    cdef set seconds
    cdef dict kinds
    cdef char last_seconds[SECONDS_TEXT]
    cdef object last_kind, last_level, last_service

    cdef bint is_plain(self, event, correlation, trace, span) except -1
    cdef object field(self, event, int index)
    cdef bint knows_kind(self, kind, level, service) except -1
    cdef bint knows_time(self, text) except -1
