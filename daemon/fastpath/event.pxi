# One event: from the record's bytes to the few texts that routing and indexing need, or to what is wrong with it.
#
#   read_event     size; the scanner (scan.pxi) for plain events; UTF-8, unless all of it is ASCII
#    └ decode_event   what the scanner did not take: msgspec, by the Struct, or again with labels and metadata raw
#   judge_event    type, level, time, ids
#
# Who owns a text: of a plain event it lies in the record. Of one that msgspec read it lies in the Struct's strings,
# which live as long as `event.decoded`, a reference that process_records drops behind each event. The Struct's fields
# are read at their places in the object: a load each, and no look-up by name.

cdef extern from *:
    """
    #if PY_VERSION_HEX < 0x030C0000
    #include <structmember.h>
    #define Py_T_OBJECT_EX T_OBJECT_EX
    #endif
    /* Where a field of a msgspec Struct lives in the object: reading it there costs a load, not a look-up. */
    static Py_ssize_t field_offset(PyObject *descriptor) {
        PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
        return member->type == Py_T_OBJECT_EX ? member->offset : -1;
    }
    static const char *ascii_data(PyObject *text) {
        return PyUnicode_IS_COMPACT_ASCII(text) ? (const char *)PyUnicode_1BYTE_DATA(text) : NULL;
    }
    """
    Py_ssize_t field_offset(PyObject *descriptor)
    const char *ascii_data(PyObject *text) noexcept

cdef extern from "Python.h":
    PyObject *PyObject_CallOneArg(PyObject *callable, PyObject *argument) noexcept
    const char *PyUnicode_AsUTF8AndSize(PyObject *text, Py_ssize_t *size) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *text) noexcept
    bint PyUnicode_CheckExact(PyObject *value) noexcept
    void PyErr_Clear() noexcept
    PyObject *PyErr_Occurred() noexcept
    int PyErr_GivenExceptionMatches(PyObject *given, PyObject *expected) noexcept
    PyObject *Py_None

# The fields of an event that must be a string, null or absent, whatever rules are loaded.
STRING_FIELDS = (
    "id", "type", "level", "service", "component", "message", "timestamp", "correlation_id", "trace_id", "span_id",
)
EVENT_FIELDS = (*STRING_FIELDS, "labels", "metadata")


class Carrier(msgspec.Struct, gc=False):
    """`labels` or `metadata`: an object of which only the correlation id is looked at."""

    correlation_id: object = None


def event_struct(bint with_labels):
    """The Struct that events are decoded into. Labels are built as a dict only when a rule reads them."""
    labels = dict[str, object] if with_labels else Carrier
    fields = [(name, str | None, None) for name in STRING_FIELDS]
    fields += [("labels", labels | None, None), ("metadata", Carrier | None, None)]
    return msgspec.defstruct("Event", fields, gc=False)


@cython.final
cdef class RecordView:
    """The bytes of one record as a buffer that is pointed elsewhere for the next: no bytes object an event."""

    cdef char *data
    cdef Py_ssize_t size

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.size, 1, flags)


cdef enum:
    TOPIC_BYTES_MAX = 249         # Kafka's own limit
    FALLBACK_ID_BYTES = 320       # topic, partition and offset with two dashes
    # Non-obvious: msgspec's limit of nesting is the interpreter's, so the depth is counted before msgspec is asked.
    # It is about 1,000 less the calls that are open in CPython 3.11, 10,000 in 3.13, 260,000 in 3.14. Over this many
    # containers open at once an event is bad, everywhere.
    DEPTH_MAX = 500

# What is known of one event while it is in hand. Texts point into the record, or into the Struct's strings.
ctypedef struct event_t:
    text_t value                  # its bytes: the record's own, or what they were converted into
    PyObject *decoded             # owned until the event is done; NULL: the scanner has read it
    found_t found
    int type
    int level
    text_t id
    text_t correlation
    text_t trace
    text_t span
    int64_t score_ms
    char fallback_id[FALLBACK_ID_BYTES]

# Non-obvious: an escaped lone surrogate is valid JSON and has no UTF-8. Where an ID has one, the event is bad.
# This stands for such a string: no name, no level and no time is written so, and judge_event looks for it in the ids.
cdef const char *NOT_UTF8 = b"\xff"


cdef inline PyObject *field_at(PyObject *decoded, Py_ssize_t offset) noexcept:
    return (<PyObject **>(<char *>decoded + offset))[0]


cdef text_t read_text(PyObject *value) noexcept:
    """The UTF-8 of a str or None."""
    cdef text_t text = no_text()
    if value == Py_None:
        return text
    text.data = ascii_data(value)
    if text.data != NULL:
        text.size = PyUnicode_GET_LENGTH(value)
        return text
    text.data = PyUnicode_AsUTF8AndSize(value, &text.size)
    if text.data == NULL:
        PyErr_Clear()
        text.data, text.size = NOT_UTF8, 1
    return text


# What msgspec raises for bytes that it cannot read.
# Non-obvious: the class and the words of msgspec's errors change with its releases, so neither is asked.
# Of what it could not read, the bytes themselves say what is wrong: no UTF-8, too deep, no JSON (`json_fault`); else a
# field has the wrong type.
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


cdef int clear_unreadable() except -1:
    """Clears what decoding raised for its bytes' sake; anything else goes on up. TOO_DEEP: the interpreter's stack had
    no room for it, which only its own error tells."""
    cdef PyObject *error = PyErr_Occurred()
    cdef bint is_deep = PyErr_GivenExceptionMatches(error, <PyObject *>RecursionError)
    if not PyErr_GivenExceptionMatches(error, <PyObject *>UNREADABLE):
        return -1
    PyErr_Clear()
    return TOO_DEEP if is_deep else FAULT_NONE


cdef bint is_too_deep(const char *at, const char *end) noexcept nogil:
    """Whether more than DEPTH_MAX containers are open at once, in JSON or in what is none."""
    cdef int depth = 0
    cdef bint in_text = False
    if end - at <= DEPTH_MAX:
        return False
    while at < end:
        if in_text:
            if at[0] == BACKSLASH:
                at += 1
            elif at[0] == QUOTE:
                in_text = False
        elif at[0] == QUOTE:
            in_text = True
        elif at[0] == b'{' or at[0] == b'[':
            depth += 1
            if depth > DEPTH_MAX:
                return True
        elif at[0] == OBJECT_END or at[0] == ARRAY_END:
            depth -= 1
        at += 1
    return False


cdef object READ_RAW = msgspec.json.Decoder(msgspec.Raw).decode


cdef int syntax_fault(object view) except -1:
    """Whether text that is UTF-8 and not too deep is JSON at all, whatever its shape: NOT_JSON if it is not."""
    cdef PyObject *raw = PyObject_CallOneArg(<PyObject *>READ_RAW, <PyObject *>view)
    if raw == NULL:
        return clear_unreadable() or NOT_JSON
    Py_XDECREF(raw)
    return FAULT_NONE


def json_fault(bytes payload not None):
    """What is wrong with bytes that could not be decoded, by the bytes alone; FAULT_NONE: JSON of some other shape."""
    cdef const char *start = payload
    cdef const char *end = start + len(payload)
    if not is_utf8(<const uint8_t *>start, <const uint8_t *>end):
        return INVALID_UTF8
    if is_too_deep(start, end):
        return TOO_DEEP
    return syntax_fault(payload)


RAW_FIELDS = [(name, str | None, None) for name in STRING_FIELDS]
RAW_FIELDS += [(name, dict[str, msgspec.Raw] | None, None) for name in ("labels", "metadata")]
cdef object DECODE_RAW = msgspec.json.Decoder(msgspec.defstruct("RawEvent", RAW_FIELDS)).decode


class DecodeUnjudged:
    """The second try with what failed validation, with labels and metadata raw.

    Non-obvious: values in labels and metadata are not judged, but a number that fits no float fails the decoder.
    So such an event is decoded a second time with both raw, and only the strings in them are read.
    """

    def __init__(self, struct, with_labels):
        self.struct, self.with_labels = struct, with_labels

    def __call__(self, view):
        raw = DECODE_RAW(view)
        labels, metadata = texts_of(raw.labels), texts_of(raw.metadata)
        if metadata is not None:
            metadata = Carrier(metadata.get("correlation_id"))
        if labels is not None and not self.with_labels:
            labels = Carrier(labels.get("correlation_id"))
        return self.struct(*(getattr(raw, name) for name in STRING_FIELDS), labels, metadata)


def texts_of(raw):
    """The strings of a raw object."""
    if raw is not None:
        return {key: msgspec.json.decode(value) for key, value in raw.items() if bytes(value).startswith(b'"')}


cdef int decode_event(RouteTable table, event_t *event) except? 0:
    """What the scanner did not take, by msgspec: reads it, or says what is wrong. `event.decoded` is the caller's."""
    cdef RecordView view = table.view
    cdef PyObject *decoded
    cdef int fault, i
    view.data, view.size = <char *>event.value.data, event.value.size
    decoded = PyObject_CallOneArg(table.decode, <PyObject *>view)
    if decoded == NULL:
        clear_unreadable()
        fault = syntax_fault(view)
        if fault != FAULT_NONE:
            return fault
        decoded = PyObject_CallOneArg(table.decode_unjudged, <PyObject *>view)
        if decoded == NULL:
            return clear_unreadable() or WRONG_FIELD_TYPE
    event.decoded = decoded
    clear_found(&event.found)
    for i in range(TEXT_COUNT):
        event.found.texts[i] = read_text(field_at(decoded, table.offsets[i]))
    event.found.metadata_correlation = carried(field_at(decoded, table.offsets[METADATA]), table, False)
    event.found.label_correlation = carried(field_at(decoded, table.offsets[LABELS]), table, True)
    return FAULT_NONE


cdef text_t carried(PyObject *value, RouteTable table, bint is_labels) noexcept:
    """`correlation_id` of decoded labels or metadata, if it is a text."""
    cdef PyObject *found
    cdef text_t text = no_text()
    if value == Py_None:
        return text
    if is_labels and table.label_rules:
        found = PyDict_GetItem(value, <PyObject *>CORRELATION_KEY)
    else:
        found = field_at(value, table.carrier_offset)
    if found != NULL and PyUnicode_CheckExact(found):
        text = read_text(found)
    return no_text() if text.data == NOT_UTF8 else text


cdef int read_event(const record_t *record, RouteTable table, event_t *event) except? 0:
    """Checks and reads `event.value`; gives the fault of a bad one. `event.decoded` is the caller's in any case."""
    cdef const char *value = event.value.data
    cdef Py_ssize_t size = event.value.size
    cdef bint is_ascii = False, is_plain
    cdef int fault
    event.decoded = NULL
    if value == NULL:
        return TOMBSTONE
    if size > table.event_bytes_max:
        return TOO_LARGE
    is_plain = table.scans and scan_event(value, size, &event.found, &is_ascii) and not (
        table.label_rules and event.found.labels_escaped
    )
    # Non-obvious: msgspec does not look into what it skips, so UTF-8 is checked once over the whole value.
    # The scanner has looked at every byte: what it took and found to be ASCII needs no second look.
    if not (is_plain and is_ascii) and not is_utf8(<const uint8_t *>value, <const uint8_t *>value + size):
        return INVALID_UTF8
    if not is_plain:
        if is_too_deep(value, value + size):
            return TOO_DEEP
        fault = decode_event(table, event)
        if fault != FAULT_NONE:
            return fault
    return judge_event(record, table, event)


cdef int judge_event(const record_t *record, RouteTable table, event_t *event) noexcept:
    """Type, level, time and the four ids of an event that has the form of one."""
    cdef const text_t *texts = event.found.texts
    cdef int form, i
    event.type = find_type(texts[TYPE])
    if event.type < 0:
        return UNKNOWN_TYPE
    event.level = find_level(texts[LEVEL])
    if event.level < 0:
        return UNKNOWN_LEVEL
    form = TIME_ZERO
    if texts[TIMESTAMP].data != NULL:
        form = parse_rfc3339(texts[TIMESTAMP].data, texts[TIMESTAMP].size, &event.score_ms)
    if form == TIME_BAD:
        return BAD_TIMESTAMP
    if form == TIME_ZERO:
        event.score_ms = record.timestamp_ms if record.timestamp_ms >= 0 else table.now_s * 1000
    event.id, event.correlation = texts[ID], texts[CORRELATION_ID]
    event.trace, event.span = texts[TRACE_ID], texts[SPAN_ID]
    if event.decoded != NULL:
        for i in (ID, CORRELATION_ID, TRACE_ID, SPAN_ID):
            if texts[i].data == NOT_UTF8:
                return INVALID_UTF8
    return FAULT_NONE


cdef void resolve_correlation(const record_t *record, event_t *event) noexcept nogil:
    """Where the event itself names none: the headers, then metadata, then labels.

    Non-obvious: a correlation ID from a header is taken only if it is UTF-8, as look-ups are made with text.
    The edge has asked `is_header_id` before; the record's pointer is NULL otherwise.
    """
    if record.correlation != NULL:
        event.correlation.data = record.correlation
        event.correlation.size = <Py_ssize_t>record.correlation_bytes
    elif event.found.metadata_correlation.size:
        event.correlation = event.found.metadata_correlation
    else:
        event.correlation = event.found.label_correlation


cdef void make_fallback_id(const record_t *record, const run_t *run, event_t *event) noexcept nogil:
    """`{topic}-{partition}-{offset}`: the same at every redelivery."""
    cdef char *at = event.fallback_id
    cdef Py_ssize_t topic_bytes = <Py_ssize_t>strnlen(run.topic, TOPIC_BYTES_MAX)
    at = put(at, run.topic, topic_bytes)
    at[0] = b'-'
    at = put_number(at + 1, run.partition)
    at[0] = b'-'
    at = put_number(at + 1, record.message.offset)
    event.id.data = event.fallback_id
    event.id.size = at - event.fallback_id


cdef object CORRELATION_KEY = "correlation_id"
