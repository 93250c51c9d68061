# The daemon's Kafka producer: enqueues the sends of a batch, and counts delivery reports back into the batch.
#
# One send's way: `send_many` enqueues it with rd_kafka_produceva, with the address of its send_t as librdkafka's
# opaque. librdkafka's threads put it into requests, and try again by themselves whatever may pass. Its report comes
# into the main queue, whose eventfd wakes the loop; `serve` polls the queue, and librdkafka calls `on_report` there
# with the same address. That takes one from the batch's pending sends, and notes the batch when it was the last.
# `serve` gives the noted batches, and the sink looks at each: at `refusals`, if some have failed.
#
# Who owns what until the report is in: the value is the source message's, which the batch holds (or the event's that
# an old message was converted into, which the batch owns). The key librdkafka copies. Headers are made
# here, and are librdkafka's as soon as it has accepted the record; what it refuses stays ours and is freed here.
#
# Runs on: the loop, all of it, the callbacks too; only `destroy` runs on a helper thread, when nothing is pending.

cdef enum:
    # What is kept of a dead letter that the broker refuses for its size: enough to see what it was.
    STUB_BYTES = 65536
    # A longer key is left out of it: a stub that is refused as well would wait for ever.
    STUB_KEY_BYTES = 256
    DEAD_HEADER_COUNT = 9
    # Errors between two looks. Those beyond are in the log lines too.
    ERRORS_KEPT = 16

class Refusal(NamedTuple):
    """A send that Kafka or librdkafka refused. `dead`: it is a dead letter; `stub`: one that was cut already."""

    send_index: int
    record_index: int
    topic_index: int
    error: int
    dead: bool
    stub: bool


# What delivery reports did since the last look. Batches: those whose last pending send was reported.
cdef struct reports_t:
    batch_t **batches
    Py_ssize_t batch_count, batch_capacity
    long own_delivered, own_failed
    long lost_count               # batches that could not be noted for want of memory; `serve` raises for them
    int32_t *partition_counts     # by topic index: one more than the highest partition that a report named
    int errors[ERRORS_KEPT]       # codes
    Py_ssize_t error_count


cdef void on_report(rd_kafka_t *rk, const message_t *report, void *opaque) noexcept nogil:
    """Runs on: the loop, inside `serve`, which holds the interpreter's lock. Touches C memory alone. Cannot fail.

    The report is librdkafka's, and freed after this returns. A callback and not an event: librdkafka walks the messages
    of an event twice, once to hand them out and once to free them.
    """
    cdef reports_t *reports = <reports_t *>opaque
    cdef send_t *send = <send_t *>report._private
    cdef batch_t *b
    cdef batch_t **moved
    # Non-obvious: the daemon's own records have no opaque.
    # They belong to no batch and must not be waited for: only their ends are counted.
    if send == NULL:
        if report.err:
            reports.own_failed += 1
        else:
            reports.own_delivered += 1
        return
    b = send.owner
    if report.err:
        send.error = report.err
        send.state = SEND_FAILED
        b.sends_failed += 1
    else:
        send.state = SEND_DELIVERED
        if report.partition >= reports.partition_counts[send.topic_index]:
            reports.partition_counts[send.topic_index] = report.partition + 1
    b.sends_pending -= 1
    if b.sends_pending:
        return
    if reports.batch_count == reports.batch_capacity:
        moved = <batch_t **>realloc(reports.batches, (2 * reports.batch_capacity + 64) * sizeof(batch_t *))
        if moved == NULL:
            reports.lost_count += 1
            return
        reports.batches = moved
        reports.batch_capacity = 2 * reports.batch_capacity + 64
    reports.batches[reports.batch_count] = b
    reports.batch_count += 1


cdef void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque) noexcept nogil:
    """Runs on: the loop, inside `serve`. Cannot fail. The reason is not kept: it is a line of the log too."""
    cdef reports_t *reports = <reports_t *>opaque
    # The last place is kept for a fatal one, of which there is one at most.
    if reports.error_count < ERRORS_KEPT - 1 or (code == ERR_FATAL and reports.error_count < ERRORS_KEPT):
        reports.errors[reports.error_count] = code
        reports.error_count += 1


@cython.final
cdef class Producer(Handle):
    """One producer handle with a topic handle for each output topic.

    fault_texts: by model.Fault, (class, stage, message) for the headers of dead letters. host: this machine.
    keep_timestamps: typed records keep the source record's time.
    """

    cdef rktopic_t **topics               # by topic index
    cdef Py_ssize_t topic_count
    cdef list fault_texts
    cdef bytes host
    cdef bint keep_timestamps
    cdef reports_t reports                # written by the callbacks, whose opaque is its address; read by `serve`

    def __init__(self, dict options, topic_names, fault_texts, str host not None, bint keep_timestamps=True):
        self.fault_texts = [tuple(text.encode() for text in texts) for texts in fault_texts]
        self.host = host.encode()
        self.keep_timestamps = keep_timestamps
        self.open(TYPE_PRODUCER, options, 0, &self.reports)
        self.add_topics(topic_names)

    def __dealloc__(self):
        free(self.topics)
        free(self.reports.batches)
        free(self.reports.partition_counts)

    cdef int close_queues(self) except -1:
        cdef Py_ssize_t i
        for i in range(self.topic_count):
            f.rd_kafka_topic_destroy(self.topics[i])
        self.topic_count = 0
        return 0

    def add_topics(self, topic_names):
        """More output topics, numbered on from those that are there. Pending sends keep theirs.

        Raises MemoryError, or KafkaFailure for a name that Kafka does not allow; those before it are then there.
        """
        cdef Py_ssize_t wanted = self.topic_count + len(topic_names)
        cdef int32_t *counts
        cdef rktopic_t **moved = <rktopic_t **>realloc(self.topics, max(1, wanted) * sizeof(rktopic_t *))
        if moved == NULL:
            raise MemoryError()
        self.topics = moved
        counts = <int32_t *>realloc(self.reports.partition_counts, max(1, wanted) * sizeof(int32_t))
        if counts == NULL:
            raise MemoryError()
        self.reports.partition_counts = counts
        for name in topic_names:
            counts[self.topic_count] = 0
            self.topics[self.topic_count] = f.rd_kafka_topic_new(self.live(), name.encode(), NULL)
            if self.topics[self.topic_count] == NULL:
                raise failure(ERR_INVALID_ARG, f"{name!r} is no topic name")
            self.topic_count += 1

    def send_many(self, Batch batch not None):
        """Enqueue all sends of the batch that wait. True: none waits any more; False: the queue is full, try again.

        They go partition by partition, and within one in the order of the batch. A send that is refused for another
        reason is marked failed, and the rest goes on. Raises MemoryError, or what a dead letter's headers raise.
        """
        cdef batch_t *b = &batch.b
        cdef send_t *send
        cdef int code
        self.live()
        # Non-obvious: sends are put in order once, before the first is enqueued.
        # Later their addresses are librdkafka's opaques, and a report would count for another send. Records of one key
        # keep their order; nobody may rest on any other.
        if not b.sends_grouped:
            group_sends(b, self.reports.partition_counts, self.topic_count)
            b.sends_grouped = True
        while b.sends_next < b.send_count:
            send = &b.sends[b.sends_next]
            if send.state == SEND_WAITING:
                # Non-obvious: a record that rd_kafka_produceva refused never gets a report.
                # So each code is looked at: a send that counted as pending would keep its batch open for ever.
                code = produce(self, b, send)
                if code == ERR_QUEUE_FULL:
                    return False
                if code:
                    send.error = code
                    send.state = SEND_FAILED
                    b.sends_failed += 1
                else:
                    send.state = SEND_PENDING
                    b.sends_pending += 1
            b.sends_next += 1
        return True

    def serve(self):
        """([Batch without pending sends], [KafkaNotice]): what came since the last call. Does not wait.

        A batch may come again: after some of its sends were tried once more. Raises MemoryError when reports could not
        be noted: their batches would never be closed.
        """
        cdef Py_ssize_t i
        self.live()
        self.reports.batch_count = self.reports.error_count = 0
        while f.rd_kafka_queue_poll_callback(self.main_queue, 0) > 0:
            pass
        notices = poll_log(self.log_queue)
        for i in range(self.reports.error_count):
            code = self.reports.errors[i]
            fatal = self.fatal_error()
            text = fatal[1] if fatal else f.rd_kafka_err2str(code).decode()
            notices.append(KafkaNotice("error", SYSLOG_ERROR, code, error_name(code), text, code == ERR_FATAL))
        reported = [<object>self.reports.batches[i].object for i in range(self.reports.batch_count)]
        if self.reports.lost_count:
            raise MemoryError("delivery reports could not be kept")
        return reported, notices

    @property
    def own_delivered(self):
        """Records of the daemon itself that were acknowledged."""
        return self.reports.own_delivered

    @property
    def own_failed(self):
        """Records of the daemon itself that were given up."""
        return self.reports.own_failed

    def send_own(self, Py_ssize_t topic_index, bytes value not None, bytes key=None):
        """Enqueue a record of the daemon itself, such as a health event. True: accepted."""
        cdef argument_t arguments[4]
        cdef rkerror_t *error
        arguments[0].kind, arguments[0].u.topic = VTYPE_RKT, self.topics[topic_index]
        arguments[1].kind = VTYPE_VALUE
        arguments[1].u.memory.data, arguments[1].u.memory.size = <char *>value, len(value)
        arguments[2].kind, arguments[2].u.number = VTYPE_MSGFLAGS, MSG_F_COPY
        arguments[3].kind = VTYPE_KEY
        arguments[3].u.memory.data = <char *>key if key is not None else NULL
        arguments[3].u.memory.size = len(key) if key is not None else 0
        error = f.rd_kafka_produceva(self.live(), arguments, 4)
        if error != NULL:
            f.rd_kafka_error_destroy(error)
            return False
        return True

    @property
    def queue_length(self):
        """Records enqueued or in flight, and reports not yet served."""
        return f.rd_kafka_outq_len(self.live())

    def purge(self):
        """Take back everything that is queued or in flight: each gets a report with an error, now or soon.

        What was in flight may be in the topic all the same.
        """
        # Without waiting: a broker's thread may stand in a name look-up.
        f.rd_kafka_purge(self.live(), PURGE_F_QUEUE | PURGE_F_INFLIGHT | PURGE_F_NON_BLOCKING)

    def provoke_fatal_error(self, int code, str text not None):
        """For tests: librdkafka's own switch into its fatal state."""
        f.rd_kafka_test_fatal_error(self.live(), code, text.encode())


cdef int produce(Producer producer, batch_t *b, send_t *send) except? -1:
    """Enqueue one send. 0, or the error code, and then nothing of it is librdkafka's. Raises what headers raise."""
    # The value is not copied. A batch holds its messages until the last report.
    # `Batch.release` asserts that no send is pending: librdkafka would send memory that was given back.
    cdef argument_t arguments[6]
    cdef record_t *record = &b.records[send.record_index]
    cdef message_t *message = record.message
    cdef headers_t *headers = NULL
    cdef rkerror_t *error
    cdef int code
    cdef size_t argument_count = 5
    arguments[0].kind, arguments[0].u.topic = VTYPE_RKT, producer.topics[send.topic_index]
    arguments[1].kind = VTYPE_VALUE
    arguments[1].u.memory.data, arguments[1].u.memory.size = message.payload, message.len
    arguments[2].kind, arguments[2].u.pointer = VTYPE_OPAQUE, send
    arguments[3].kind = VTYPE_TIMESTAMP
    arguments[3].u.big_number = record.timestamp_ms if producer.keep_timestamps and record.timestamp_ms > 0 else 0
    arguments[4].kind = VTYPE_KEY
    if send.flags & SEND_DEAD:
        # 0 is "now": a time of the source that no broker accepts must not keep its dead letter back as well.
        arguments[3].u.big_number = 0
        arguments[4].u.memory.data, arguments[4].u.memory.size = message.key, message.key_len
        if send.flags & SEND_STUB:
            arguments[1].u.memory.size = min(message.len, <size_t>STUB_BYTES)
            if message.key_len > STUB_KEY_BYTES:
                arguments[4].u.memory.data, arguments[4].u.memory.size = NULL, 0
        headers = dead_letter_headers(producer, b, send)
    else:
        # A record of an old topic has two values.
        # Typed topics, and Redis, get the event that it was converted into, which the batch owns until `release`. Dead
        # letters, also late ones, get the message's own bytes.
        if b.converted != NULL and b.converted[send.record_index].data != NULL:
            arguments[1].u.memory.data = <void *>b.converted[send.record_index].data
            arguments[1].u.memory.size = b.converted[send.record_index].size
        arguments[4].u.memory.size = send.key_bytes
        arguments[4].u.memory.data = b.keys + send.key_offset if send.key_bytes else NULL
        if send.flags & SEND_HEADERS:
            headers = f.rd_kafka_headers_copy(record.headers)
    if headers != NULL:
        arguments[5].kind, arguments[5].u.headers = VTYPE_HEADERS, headers
        argument_count = 6
    error = f.rd_kafka_produceva(producer.rk, arguments, argument_count)
    if error == NULL:
        return 0                                      # the headers are librdkafka's now
    if headers != NULL:
        f.rd_kafka_headers_destroy(headers)
    code = f.rd_kafka_error_code(error)
    f.rd_kafka_error_destroy(error)
    return code


cdef inline void add_header(headers_t *headers, const char *name, bytes value) noexcept:
    """librdkafka copies name and value, and refuses neither."""
    f.rd_kafka_header_add(headers, name, -1, <const char *>value, len(value))


cdef headers_t *dead_letter_headers(Producer producer, batch_t *b, send_t *send) except NULL:
    """The source record's headers, then where it came from and why it is here. The caller owns them."""
    cdef record_t *record = &b.records[send.record_index]
    cdef run_t *run = &b.runs[record.run_index]
    cdef headers_t *headers
    fault_class, stage, message = producer.fault_texts[send.fault]
    if send.cause:
        message = message + b": " + <bytes>f.rd_kafka_err2name(send.cause)
    # Non-obvious: a record's own headers may be what made its dead letter too large.
    # So a stub leaves them out.
    if record.headers != NULL and not send.flags & SEND_STUB:
        headers = f.rd_kafka_headers_copy(record.headers)
    else:
        headers = f.rd_kafka_headers_new(DEAD_HEADER_COUNT)
    add_header(headers, b"__ingestd.errors.topic", run.topic)
    add_header(headers, b"__ingestd.errors.partition", b"%d" % run.partition)
    add_header(headers, b"__ingestd.errors.offset", b"%d" % record.message.offset)
    add_header(headers, b"__ingestd.errors.timestamp", b"%d" % record.timestamp_ms)
    add_header(headers, b"__ingestd.errors.stage", stage)
    add_header(headers, b"__ingestd.errors.class", fault_class)
    add_header(headers, b"__ingestd.errors.message", message)
    add_header(headers, b"__ingestd.errors.host", producer.host)
    if send.flags & SEND_STUB:
        add_header(headers, b"__ingestd.errors.size", b"%d" % record.message.len)
    return headers


def refusals(Batch batch not None):
    """[Refusal]: the failed sends of a batch that nobody has dealt with yet, in the order of sending."""
    cdef batch_t *b = &batch.b
    cdef send_t *send
    cdef Py_ssize_t i
    result = []
    if b.sends_failed == 0:
        return result
    for i in range(b.send_count):
        send = &b.sends[i]
        if send.state == SEND_FAILED:
            result.append(Refusal(
                i, send.record_index, send.topic_index, send.error,
                bool(send.flags & SEND_DEAD), bool(send.flags & SEND_STUB),
            ))
    return result


def rearm(Batch batch not None, Py_ssize_t send_index):
    """A failed send waits again: the next `send_many` enqueues it. Only while it has no report to come."""
    cdef batch_t *b = &batch.b
    cdef send_t *send = &b.sends[send_index]
    assert send.state == SEND_FAILED
    send.state = SEND_WAITING
    b.sends_failed -= 1
    if send_index < b.sends_next:
        b.sends_next = send_index


def rearm_as_dead_letter(Batch batch not None, Py_ssize_t send_index, int fault, int topic_index, bint stub=False):
    """A send that Kafka refused for good goes to the dead letters instead; a refused dead letter becomes a stub."""
    cdef send_t *send = &batch.b.sends[send_index]
    if not send.flags & SEND_DEAD:
        send.cause = send.error
        send.fault = <uint8_t>fault
        send.topic_index = <uint16_t>topic_index
        send.flags |= SEND_DEAD
    if stub:
        send.flags |= SEND_STUB
    rearm(batch, send_index)


def add_dead_letter(Batch batch not None, Py_ssize_t record_index, int fault, int topic_index):
    """One more send for a record whose Redis commands were refused for good."""
    cdef batch_t *b = &batch.b
    # The opaque of a record is the address of its send_t, so an array with a pending send must not move.
    # Appending may move it. Dead letters are added only when nothing is pending.
    assert b.sends_pending == 0
    batch.append_send(record_index, topic_index, SEND_DEAD, fault)
