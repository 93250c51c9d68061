# The client library's Kafka producer: any thread sends events, one thread hands each event's owner its delivery report.
#
# confluent-kafka's own `produce` takes 3.4 µs for a record with eight headers, of which librdkafka needs a third. For
# each report it takes and gives the interpreter's lock; here many are told of under one (decision 0012).
#
# Threads: `send` and `send_events` run on any thread of the program; a call into librdkafka holds the GIL.
# `serve` runs on the delivery thread, which waits in rd_kafka_queue_poll without that lock. `flush`, `purge` and
# `destroy` give it up too, so that librdkafka may be in several of these calls at once. It allows that but for
# `destroy`: the client's SharedProducer holds its lock `_using` around each of the three.
#
# Who owns what: librdkafka copies the key always and the value of a single event. An event of a batch lies in the
# EventBatch's own buffer, which must live until its last report. The opaque of a record is its owner, a Python object,
# with a reference taken in `enqueue` and given back in `tell_owners`: one for each record, as each gets one report.
# Headers are librdkafka's once it has accepted the record. What it refuses is freed here.
#
# There is no eventfd, so that it works where there is none; nor a callback, as reports come as events.

cdef enum:
    # Events of the queue that one `serve` deals with before it gives its notices. One event has many reports.
    REPORT_EVENTS_MAX = 64
    EXTENSIONS_MAX = 64           # SASL extensions of one token


@cython.final
cdef class Sender(Handle):
    """One producer handle for one topic. One thread serves; any may send. Nobody may flush, purge or destroy while
    another does. Keys are copied, and values but for those of a batch.

    options: librdkafka's, as strings. refresh_token: called with `sasl.oauthbearer.config` when a token is wanted,
    gives (token, expiry in seconds since the epoch[, principal[, {extension: value}]]).

    An owner is told of its records by `delivered(partition, offset, count)`, where `count` records that follow each
    other in a partition end at `offset`, and `failed(code, value)` for each that was not delivered. Runs on: the thread
    that serves.
    """

    cdef rktopic_t *topic
    cdef object refresh_token
    # Both are kept by the interpreter's lock: each is read and written while it is held, in one step.
    cdef readonly Py_ssize_t waiting_count    # records whose owner has not been told
    cdef bint is_retired                      # takes nothing more

    def __init__(self, dict options, str topic not None, refresh_token=None):
        cdef int events = EVENT_DR | (EVENT_TOKEN_REFRESH if refresh_token is not None else 0)
        self.refresh_token = refresh_token
        self.open(TYPE_PRODUCER, options, events, NULL, False)
        self.topic = f.rd_kafka_topic_new(self.rk, topic.encode(), NULL)
        if self.topic == NULL:
            raise failure(ERR_INVALID_ARG, f"{topic!r} is no topic name")

    cdef int close_queues(self) except -1:
        f.rd_kafka_topic_destroy(self.topic)
        return 0

    def send(self, RecordWriter writer not None, event, bint is_sampled, owner not None):
        """Enqueue one event, whose `traceparent` says whether it is sampled. 0, or librdkafka's error code.

        `owner` is told of it if it was 0, and only then.
        """
        return enqueue_event(self, writer, event, is_sampled, owner)

    def send_events(self, EventBatch batch not None, Py_ssize_t begin, Py_ssize_t end, owner not None):
        """Enqueue those from `begin` up to `end`. (How many were, 0 or the code that kept back the next)

        `owner` is told of as many as were, and keeps `batch` alive until then: librdkafka reads the values from it.
        """
        if not 0 <= begin <= end <= len(batch.events):
            raise IndexError(f"events {begin} to {end} of {len(batch.events)}")
        return enqueue_events(self, batch, begin, end, owner)

    def serve(self, int timeout_ms):
        """Wait for reports, at most so long, and tell owners. ([KafkaNotice] that came too, [what owners raised])

        Runs on: the delivery thread.
        """
        # Non-obvious: a delivery thread that takes the interpreter's lock for each report waits 5 ms for each.
        # That is CPython's switch interval, beside a thread that computes: 200 reports a second, and the queue runs
        # full. So all reports that have come are told of under one lock, and what librdkafka frees with them is freed
        # without it.
        cdef rkevent_t *event
        cdef queue_t *queue = self.main_queue
        cdef int kind, seen = 0
        self.live()
        notices = []
        errors = []
        with nogil:
            event = f.rd_kafka_queue_poll(queue, timeout_ms)
        while event != NULL:
            kind = f.rd_kafka_event_type(event)
            try:
                if kind == EVENT_DR:
                    tell_owners(self, event, errors)
                elif kind == EVENT_TOKEN_REFRESH:
                    give_token(self, event, errors)
                elif kind == EVENT_ERROR or kind == EVENT_LOG:
                    notices.append(read_notice(event, kind))
            finally:
                with nogil:                           # it frees every record with its headers
                    f.rd_kafka_event_destroy(event)
            seen += 1
            event = f.rd_kafka_queue_poll(queue, 0) if seen < REPORT_EVENTS_MAX else NULL
        return notices, errors

    def wake(self):
        """Let a `serve` that waits come back. Runs on: any thread; does not wait."""
        if self.rk != NULL:
            f.rd_kafka_queue_yield(self.main_queue)

    def flush(self, int timeout_ms):
        """Let nothing linger, and wait until another thread has told every owner. False: the time is over.

        Runs on: any thread but the delivery thread.
        """
        # Non-obvious: a flush waits for the delivery thread, which must serve meanwhile.
        # librdkafka does not poll by itself where reports are events. So a callback of a delivery, which runs on that
        # thread, can neither flush, nor close, nor wait for room in a full queue: it would wait for itself.
        cdef rd_kafka_t *rk = self.live()
        cdef int code
        with nogil:
            code = f.rd_kafka_flush(rk, timeout_ms)
        return code == 0

    def purge(self):
        """Give up all records: each gets a report with an error, now or soon."""
        cdef rd_kafka_t *rk = self.rk
        if rk == NULL:
            return
        with nogil:
            f.rd_kafka_purge(rk, PURGE_F_QUEUE | PURGE_F_INFLIGHT)

    def retire(self):
        """Take nothing more, so that it can be destroyed. False when a record waits: a thread may have come in late.

        Runs on: the delivery thread.
        """
        # Non-obvious: a producer retires only when nothing waits, and the look and the step are one.
        # Both are under the interpreter's lock, without a call between them. A thread that has this sender in hand
        # was counted before, or gets ERR_DESTROY and takes the next one: no owner is left without a report.
        if self.waiting_count == 0:
            self.is_retired = True
        return self.is_retired

    def abandon(self):
        """For the child of a fork: forget the rd_kafka_t, which stays the parent's."""
        # Non-obvious: rd_kafka_destroy in the child of a fork waits for threads that are not there.
        # So nothing is freed: the child has its copy of the memory, and of what was in the queue, until it ends.
        self.rk = NULL


cdef int add_pairs(headers_t *headers, pairs) except -1:
    """Headers whose values are texts or bytes; librdkafka copies them. Raises UnicodeEncodeError."""
    cdef const char *data
    cdef Py_ssize_t size
    for name, value in pairs:
        if type(value) is bytes:
            data, size = <const char *><bytes>value, len(<bytes>value)
        else:
            data = PyUnicode_AsUTF8AndSize(value, &size)
        f.rd_kafka_header_add(headers, PyUnicode_AsUTF8AndSize(name, NULL), -1, data, size)
    return 0


cdef int enqueue(
    Sender sender, const char *value, Py_ssize_t size, int flags, str key, headers_t *headers, owner
) except? -1:
    """0, or librdkafka's error code. The headers are librdkafka's then, or freed.

    It is the one place where a record's owner gets its reference, only when librdkafka took the record.
    """
    cdef argument_t arguments[6]
    cdef rkerror_t *error
    cdef const char *key_data = NULL
    cdef Py_ssize_t key_size = 0
    cdef int code = ERR_DESTROY
    if sender.rk != NULL and not sender.is_retired:
        if key is not None:
            # Does not raise: the same text was made a header before this.
            key_data = PyUnicode_AsUTF8AndSize(key, &key_size)
        arguments[0].kind, arguments[0].u.topic = VTYPE_RKT, sender.topic
        arguments[1].kind = VTYPE_VALUE
        arguments[1].u.memory.data, arguments[1].u.memory.size = <char *>value, size
        arguments[2].kind, arguments[2].u.number = VTYPE_MSGFLAGS, flags
        arguments[3].kind = VTYPE_KEY
        arguments[3].u.memory.data, arguments[3].u.memory.size = <void *>key_data, key_size
        arguments[4].kind, arguments[4].u.pointer = VTYPE_OPAQUE, <void *>owner
        arguments[5].kind, arguments[5].u.headers = VTYPE_HEADERS, headers
        error = f.rd_kafka_produceva(sender.rk, arguments, 6 if headers != NULL else 5)
        if error == NULL:
            Py_INCREF(owner)                          # until its report
            sender.waiting_count += 1
            return 0
        code = f.rd_kafka_error_code(error)
        f.rd_kafka_error_destroy(error)
    if headers != NULL:
        f.rd_kafka_headers_destroy(headers)
    return code


cdef int tell_owners(Sender sender, rkevent_t *event, list errors) except -1:
    """All reports of one event. What follows each other, of one owner and without an error, is told at once.

    The messages are the event's, and a failed one's value is copied for its owner. What an owner raises is kept in
    `errors`, so that every other owner is told all the same. Each report gives one reference back.
    """
    cdef const message_t *message = f.rd_kafka_event_message_next(event)
    cdef void *owner
    cdef int64_t offset
    cdef int32_t partition
    cdef int code
    cdef Py_ssize_t count, i
    while message != NULL:
        owner, code, partition, offset, count = message._private, message.err, message.partition, message.offset, 1
        value = None
        if code:
            value = (<char *>message.payload)[:message.len] if message.payload != NULL else b""
            message = f.rd_kafka_event_message_next(event)
        else:
            message = f.rd_kafka_event_message_next(event)
            while message != NULL and message._private == owner and not message.err:
                offset = message.offset
                count += 1
                message = f.rd_kafka_event_message_next(event)
        try:
            if code:
                (<object>owner).failed(code, value)
            else:
                (<object>owner).delivered(partition, offset, count)
        except Exception as error:
            errors.append(error)
        sender.waiting_count -= count
        for i in range(count):
            Py_DECREF(<object>owner)
    return 0


cdef int give_token(Sender sender, rkevent_t *event, list errors) except -1:
    """Ask the program for a token, and hand it to librdkafka; a failure is librdkafka's to log and to try again.

    Runs on: the delivery thread, so that reports wait while the program asks for its token. librdkafka copies all.
    """
    cdef const char *config = f.rd_kafka_event_config_string(event)
    cdef const char *extensions[2 * EXTENSIONS_MAX]
    cdef char text[ERROR_TEXT_BYTES]
    cdef size_t count = 0
    cdef bytes token, principal, reason
    try:
        answer = sender.refresh_token(config.decode() if config != NULL else "")
        token, expiry_s = answer[0].encode(), float(answer[1])
        principal = (answer[2] or "").encode() if len(answer) > 2 else b""
        pairs = (answer[3] or {}) if len(answer) > 3 else {}
        kept = [word.encode() for pair in pairs.items() for word in pair]
        if len(kept) > 2 * EXTENSIONS_MAX:
            raise ValueError(f"{len(kept) // 2} SASL extensions; at most {EXTENSIONS_MAX} are allowed")
        for word in kept:
            extensions[count] = <const char *><bytes>word
            count += 1
        if f.rd_kafka_oauthbearer_set_token(
            sender.rk, token, <int64_t>(expiry_s * 1000), principal, extensions, count, text, sizeof(text)
        ):
            raise ValueError(text.decode("utf-8", "replace"))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".encode()
        f.rd_kafka_oauthbearer_set_token_failure(sender.rk, reason)
        errors.append(error)
    return 0
