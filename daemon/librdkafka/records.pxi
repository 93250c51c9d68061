# Kafka records of a program's events: the JSON value and the headers, as the client library sends them.
#
# The events were checked by the client's RecordMaker, whose `make` is the same in Python: a test holds the two equal.
#
# Runs on: any thread that publishes, with the interpreter's lock. It may change hands wherever Python code runs, as
# RecordMaker's does. So what is kept from one event to the next is replaced as one object, and the scratch has a flag
# that says it is taken: neither needs a lock of its own.

cdef enum:
    TRACE_PARENT_BYTES = 36       # `00-`, 32 hex digits, `-`
    W3C_SPAN_BYTES = 16
    TRACE_FLAGS_BYTES = 3         # `-01`
    SCRATCH_KEPT_BYTES = 65536    # a giant's buffer is not kept

cdef const char *SAMPLED = b"-01"
cdef const char *UNSAMPLED = b"-00"


@cython.final
cdef class RecordWriter:
    """Writes the value and the headers of checked events.

    records: a RecordMaker, of which `kind_headers`, `shared_headers`, `w3c_span`, `too_large` and `unwritable` are
    asked. encode_into: msgspec's, of a JSON encoder.
    """

    cdef object records
    cdef object encode_into
    cdef PlainCheck check
    cdef bytes span_name
    cdef Py_ssize_t bytes_max
    cdef bytearray scratch                # where a single event is written, before librdkafka copies it
    cdef bint is_writing                  # the scratch is in use: another thread takes a buffer of its own
    # The headers of the event before, which most often are this one's too. Each in one tuple, as another thread may
    # come in between its parts.
    cdef tuple last_kind                  # (type, level, service, pairs)
    cdef tuple last_ids                   # (correlation, trace, pairs, start of traceparent or None)

    def __init__(self, records, PlainCheck check not None, encode_into, str span_name not None, Py_ssize_t bytes_max):
        self.records, self.check, self.encode_into = records, check, encode_into
        self.span_name, self.bytes_max = span_name.encode(), bytes_max
        self.scratch = bytearray()
        self.last_kind = (None, None, None, ())
        self.last_ids = (None, None, (), None)

    cdef int write(self, event, bytearray values, Py_ssize_t begin) except -1:
        """Put the value behind `begin`, where `values` ends; msgspec cuts off what stood there else.

        Raises what RecordMaker makes of it, as a rule InvalidEvent: it cannot be JSON, or it is too large.
        """
        try:
            self.encode_into(event, values, begin)
        except Exception as error:
            raise self.records.unwritable(event, error) from error
        if len(values) - begin > self.bytes_max:
            raise self.records.too_large(len(values) - begin)
        return 0

    cdef headers_t *make_headers(self, event, const char *flags) except NULL:
        """The record's headers, which are the caller's. Raises what RecordMaker raises, and nothing is left then."""
        cdef headers_t *headers
        cdef tuple of_kind = self.last_kind, ids = self.last_ids
        cdef PlainCheck of = self.check
        kind, level, service = of.field(event, TYPE), of.field(event, LEVEL), of.field(event, SERVICE)
        correlation, trace, span = of.field(event, CORRELATION_ID), of.field(event, TRACE_ID), of.field(event, SPAN_ID)
        if kind is not of_kind[0] or level is not of_kind[1] or service is not of_kind[2]:
            of_kind = (kind, level, service, self.records.kind_headers(kind, level, service))
            self.last_kind = of_kind
        if correlation != ids[0] or trace != ids[1]:
            ids = (correlation, trace, *self.records.shared_headers(correlation, trace))
            self.last_ids = ids
        headers = f.rd_kafka_headers_new(len(<tuple>of_kind[3]) + len(<tuple>ids[2]) + 2)
        try:
            add_pairs(headers, of_kind[3])
            add_pairs(headers, ids[2])
            if span:
                add_span_headers(headers, self, span, ids[3], flags)
        except BaseException:
            f.rd_kafka_headers_destroy(headers)
            raise
        return headers

    cdef inline object key(self, event):
        """The trace, else the correlation, so that what belongs together is in one partition. None: any partition."""
        return self.check.field(event, TRACE_ID) or self.check.field(event, CORRELATION_ID)


@cython.final
cdef class EventBatch:
    """Checked events, and all their values in one buffer.

    Not a bytes object or a tuple an event: the garbage collector would walk those of all batches under way. librdkafka
    is given the buffer's own bytes, so that the batch lives until the last report: its owner keeps it.
    unsampled_trace: the trace whose `traceparent` says that it is not sampled, or None.
    """

    cdef list events
    cdef bytearray values
    cdef Py_ssize_t *ends                 # by event: where its value ends
    cdef Py_ssize_t capacity
    cdef RecordWriter writer
    cdef str unsampled_trace

    def __init__(self, RecordWriter writer not None, str unsampled_trace):
        self.events, self.values = [], bytearray()
        self.writer, self.unsampled_trace = writer, unsampled_trace

    def __dealloc__(self):
        free(self.ends)

    def __len__(self):
        return len(self.events)

    def fill(self, events, mend, correlation, trace, span):
        """Once: take all events. For one that is not plain, what `mend` gives. What that and `events` raise goes on."""
        cdef Py_ssize_t begin = 0
        cdef void *moved
        for event in events:
            if not self.writer.check.is_plain(event, correlation, trace, span):
                event = mend(event)
            self.writer.write(event, self.values, begin)
            begin = len(self.values)
            if len(self.events) == self.capacity:
                moved = realloc(self.ends, (2 * self.capacity + 64) * sizeof(Py_ssize_t))
                if moved == NULL:
                    raise MemoryError()
                self.ends, self.capacity = <Py_ssize_t *>moved, 2 * self.capacity + 64
            self.ends[len(self.events)] = begin
            self.events.append(event)

    def values_from(self, Py_ssize_t begin):
        """[bytes] of the events from `begin` on."""
        cdef Py_ssize_t i
        return [
            bytes(self.values[self.ends[i - 1] if i else 0:self.ends[i]]) for i in range(begin, len(self.events))
        ]


cdef inline bint is_w3c_span(const char *text, Py_ssize_t size) noexcept nogil:
    """16 lower-case hex digits, not all of them 0."""
    cdef int i, zeros = 0
    if size != W3C_SPAN_BYTES:
        return False
    for i in range(W3C_SPAN_BYTES):
        if not (48 <= text[i] <= 57 or 97 <= text[i] <= 102):
            return False
        zeros += text[i] == 48
    return zeros < W3C_SPAN_BYTES


cdef int add_span_headers(
    headers_t *headers, RecordWriter writer, str span, str parent, const char *flags
) except -1:
    """The span's id, and `traceparent` where trace and span have the form for it. parent: its beginning, or None."""
    cdef Py_ssize_t size, parent_size
    cdef const char *data = PyUnicode_AsUTF8AndSize(span, &size)
    cdef const char *begin
    cdef char text[TRACE_PARENT_BYTES + W3C_SPAN_BYTES + TRACE_FLAGS_BYTES]
    f.rd_kafka_header_add(headers, writer.span_name, -1, data, size)
    if parent is None:
        return 0
    if not is_w3c_span(data, size):
        span = writer.records.w3c_span(span)
        if span is None:
            return 0
        data = PyUnicode_AsUTF8AndSize(span, &size)
    begin = PyUnicode_AsUTF8AndSize(parent, &parent_size)
    assert size == W3C_SPAN_BYTES and parent_size == TRACE_PARENT_BYTES
    memcpy(text, begin, TRACE_PARENT_BYTES)
    memcpy(text + TRACE_PARENT_BYTES, data, W3C_SPAN_BYTES)
    memcpy(text + TRACE_PARENT_BYTES + W3C_SPAN_BYTES, flags, TRACE_FLAGS_BYTES)
    f.rd_kafka_header_add(headers, b"traceparent", -1, text, sizeof(text))
    return 0


cdef (Py_ssize_t, int) enqueue_events(
    Sender sender, EventBatch batch, Py_ssize_t begin, Py_ssize_t end, owner
) except *:
    """(How many were enqueued, the code that kept back the next or 0). Values are not copied: see EventBatch.

    `values` may not be resized from here to the last report. Nothing does: an EventBatch is filled once, before.
    """
    cdef Py_ssize_t i, value_end, value_begin = batch.ends[begin - 1] if begin else 0
    cdef char *values = PyByteArray_AS_STRING(batch.values)
    cdef RecordWriter writer = batch.writer
    cdef const char *flags
    cdef int code
    for i in range(begin, end):
        event = batch.events[i]
        flags = SAMPLED
        if batch.unsampled_trace is not None and writer.check.field(event, TRACE_ID) == batch.unsampled_trace:
            flags = UNSAMPLED
        value_end = batch.ends[i]
        code = enqueue(
            sender, values + value_begin, value_end - value_begin, 0, writer.key(event),
            writer.make_headers(event, flags), owner,
        )
        if code:
            return i - begin, code
        value_begin = value_end
    return end - begin, 0


cdef int enqueue_event(Sender sender, RecordWriter writer, event, bint is_sampled, owner) except? -1:
    """0, or librdkafka's error code. Raises InvalidEvent.

    The value is written into the scratch, or into a buffer of its own where another thread has come in between, and
    librdkafka copies it from there.
    """
    cdef bytearray values = bytearray() if writer.is_writing else writer.scratch
    cdef bint is_mine = values is writer.scratch
    cdef headers_t *headers
    if is_mine:
        writer.is_writing = True
    try:
        writer.write(event, values, 0)
        headers = writer.make_headers(event, SAMPLED if is_sampled else UNSAMPLED)
        return enqueue(
            sender, PyByteArray_AS_STRING(values), len(values), MSG_F_COPY, writer.key(event), headers, owner
        )
    finally:
        if is_mine:
            if len(values) > SCRATCH_KEPT_BYTES:
                writer.scratch = bytearray()
            writer.is_writing = False
