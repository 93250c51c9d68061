# Which of a program's own events needs nothing before it is published: the client library's question, asked in bulk.
#
# Most events of a program are alike: ids set, the same type, level and service, a time within the same seconds as the
# one before. What was found valid once is remembered by those few values, and an event that consists of them needs no
# check, no id and no time. False means only "look at it in Python": nothing is called bad here.

cdef inline bint is_filled(object value) noexcept:
    """Whether it is a text, and not the empty one."""
    return isinstance(value, str) and PyUnicode_GET_LENGTH(<PyObject *>value) > 0


cdef inline bint needs_no(object filler, object value) noexcept:
    """Whether an optional id needs no filling: it is there, or there is nothing else to fill it with."""
    return is_filled(value) or (value is filler and (value is None or isinstance(value, str)))


cdef bint are_texts(object labels) except -1:
    """Whether it is a dict with something in it, text to text."""
    if type(labels) is not dict or not labels:
        return False
    for key, value in (<dict>labels).items():
        if type(key) is not str or type(value) is not str:
            return False
    return True


@cython.final
cdef class PlainCheck:
    """Whether an event consists of what was seen to be valid before.

    probe: an event of the class that is asked about, client.events.Event, to find where its fields lie. seconds: texts
    of timestamps, up to the seconds; kinds: a dict by (type, level, service). Both are the caller's, who adds to them
    what it finds valid.
    """

    def __init__(self, probe, set seconds not None, dict kinds not None):
        self.struct = type(probe)
        for i, name in enumerate(EVENT_FIELDS):
            self.offsets[i] = proved_offset(self.struct, probe, name)
        self.seconds = seconds
        self.kinds = kinds
        self.last_kind = self.last_level = self.last_service = None

    def holds(self, event, correlation, trace, span):
        """The last three are the running code's. False: it may be valid all the same."""
        return self.is_plain(event, correlation, trace, span)

    cdef bint is_plain(self, event, correlation, trace, span) except -1:
        if type(event) is not self.struct:
            return False
        own_span = self.field(event, SPAN_ID)
        labels, metadata = self.field(event, LABELS), self.field(event, METADATA)
        return (
            is_filled(self.field(event, ID))
            and isinstance(self.field(event, COMPONENT), str) and isinstance(self.field(event, MESSAGE), str)
            and self.knows_kind(self.field(event, TYPE), self.field(event, LEVEL), self.field(event, SERVICE))
            and self.knows_time(self.field(event, TIMESTAMP))
            and needs_no(correlation, self.field(event, CORRELATION_ID))
            and needs_no(trace, self.field(event, TRACE_ID))
            and (is_filled(own_span) or (own_span is None and span is None))
            and (metadata is None or (type(metadata) is dict and len(<dict>metadata) > 0))
            and (labels is None or are_texts(labels))
        )

    cdef object field(self, event, int index):
        """Of EVENT_FIELDS; one that was deleted is None."""
        cdef PyObject *value
        if type(event) is not self.struct:
            return getattr(event, EVENT_FIELDS[index])
        value = field_at(<PyObject *>event, self.offsets[index])
        return <object>value if value != NULL else None

    cdef bint knows_kind(self, kind, level, service) except -1:
        if kind is self.last_kind and level is self.last_level and service is self.last_service:
            return True
        if not (isinstance(kind, str) and isinstance(level, str) and isinstance(service, str)):
            return False
        if (kind, level, service) not in self.kinds:
            return False
        self.last_kind, self.last_level, self.last_service = kind, level, service
        return True

    cdef bint knows_time(self, text) except -1:
        """Seconds that are known, then `Z`, or a fraction and `Z`."""
        cdef const char *data = ascii_data(<PyObject *>text) if isinstance(text, str) else NULL
        cdef Py_ssize_t size, i
        if data == NULL:
            return False
        size = PyUnicode_GET_LENGTH(<PyObject *>text)
        if size <= SECONDS_TEXT or data[size - 1] != b'Z':
            return False
        if size > SECONDS_TEXT + 1:
            if data[SECONDS_TEXT] != b'.' or size == SECONDS_TEXT + 2:
                return False
            for i in range(SECONDS_TEXT + 1, size - 1):
                if not 48 <= data[i] <= 57:
                    return False
        if memcmp(data, self.last_seconds, SECONDS_TEXT) == 0:
            return True
        if text[:SECONDS_TEXT] not in self.seconds:
            return False
        memcpy(self.last_seconds, data, SECONDS_TEXT)
        return True
