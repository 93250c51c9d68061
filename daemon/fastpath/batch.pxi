# The batch: what was taken at once, from Kafka to its last acknowledgement. Owner of all memory named in _abi.pxd.
#
#   records[i] ── message ─▶ librdkafka's message, borrowed until `release`
#        │ └─── run_index ─▶ runs[k]: topic, partition, first and last offset, counts; what the ledger knows
#        └───── reply_end ─▶ how many replies of `resp` are in when this record's are
#   sends[j] ── record_index ─▶ records[i]; key_offset ─▶ keys
#   resp: the bytes of all Redis commands, in the order of the records
#
# A batch is filled by the edge (Consumer.take), worked on by `process_batch`, read by both sinks, and emptied by
# `release` when neither owes it anything; then the engine uses it again, with its arrays. One thread has it all the
# time, the loop's; librdkafka's threads read the payloads of sends that are pending, and nothing else.

cdef enum:
    # Book-keeping of one held record: librdkafka's op and message, our record_t and send_t.
    RECORD_OVERHEAD_BYTES = 600
    # A batch that once held giants gives the memory back: above this the RESP buffer is freed at release.
    RESP_KEPT_BYTES = 8 * 1024 * 1024


class Tapped(NamedTuple):
    """One event that a tap wants to see. `topics`: indexes of the output topics that it goes to."""

    payload: bytes
    source_topic_index: int
    partition: int
    offset: int
    timestamp_ms: int
    verdict: int
    fault: int
    topics: list


class Run(NamedTuple):
    """A run of records of one partition inside one batch."""

    source_topic_index: int
    partition: int
    leader_epoch: int
    first_offset: int
    last_offset: int
    received_count: int
    dropped_count: int
    dead_count: int
    first_timestamp_ms: int


cdef class Batch:
    """One batch. Filled by the edge (or `load` in tests), worked on by `process_batch`, given back by `release`."""

    def __cinit__(self, Py_ssize_t events_max):
        if events_max < 1:
            raise ValueError("events_max must be at least 1")
        self.events_max = events_max
        self.b.object = <void *>self
        self.references = []
        self.trims = []
        self.release_records = NULL
        grow(<void **>&self.b.records, &self.b.record_capacity, events_max, sizeof(record_t))

    def __dealloc__(self):
        if self.release_records != NULL and self.b.record_count:
            self.release_records(&self.b)
        PyMem_RawFree(self.b.records)
        PyMem_RawFree(self.b.sends)
        PyMem_RawFree(self.b.runs)
        PyMem_RawFree(self.b.keys)
        PyMem_RawFree(self.b.resp)
        free(self.b.converted)

    def release(self):
        """Give the records back and make the batch empty.

        Non-obvious: values are not copied when they are sent, so nothing may be pending when messages are given back.
        A batch holds them until its last delivery report, as librdkafka's threads read the values until then.
        """
        assert self.b.sends_pending == 0
        if self.release_records != NULL and self.b.record_count:
            self.release_records(&self.b)
        self.clear_counts()

    def abandon(self):
        """`release` for the end: what is pending on the batch will not be reported, as its producer is destroyed."""
        self.b.sends_pending = 0
        self.release()

    cdef void clear_counts(self) noexcept:
        cdef batch_t *b = &self.b
        b.record_count = b.send_count = b.run_count = 0
        b.key_used = b.resp_used = b.reply_count = b.payload_bytes = 0
        b.sends_pending = b.sends_failed = b.sends_next = 0
        b.sends_grouped = False
        self.sends_counted = 0
        if b.converted != NULL:
            free(b.converted)
            b.converted = NULL
        if self.references:
            self.references = []
        if self.trims:
            self.trims = []
        if b.resp_capacity > RESP_KEPT_BYTES:
            PyMem_RawFree(b.resp)
            b.resp = NULL
            b.resp_capacity = 0

    cdef int add_run(
        self, void *rkt, const char *topic, uint32_t source_topic_index, int32_t partition, int64_t offset,
        bint index_only,
    ) except -1:
        """Index of a new run that begins at `offset`."""
        cdef batch_t *b = &self.b
        cdef run_t *run
        if b.run_count == b.run_capacity:
            grow(<void **>&b.runs, &b.run_capacity, b.run_count + 16, sizeof(run_t))
        run = &b.runs[b.run_count]
        memset(run, 0, sizeof(run_t))
        run.rkt = rkt
        run.topic = topic
        run.source_topic_index = source_topic_index
        run.partition = partition
        run.leader_epoch = -1
        run.first_offset = run.last_offset = offset
        run.index_only = index_only
        b.run_count += 1
        return <int>b.run_count - 1

    cdef int append_send(self, Py_ssize_t record_index, uint16_t topic, uint8_t flags, int fault) except -1:
        """One more send behind the others. Nothing may be pending on the batch: the array may move."""
        reserve_sends(&self.b, 1)
        add_send(&self.b, record_index, topic, flags).fault = <uint8_t>fault
        return 0

    @property
    def record_count(self):
        return self.b.record_count

    @property
    def send_count(self):
        return self.b.send_count

    @property
    def reply_count(self):
        return self.b.reply_count

    @property
    def sends_pending(self):
        return self.b.sends_pending

    @property
    def sends_failed(self):
        return self.b.sends_failed

    @property
    def sends_waiting(self):
        """Whether some send has not been enqueued yet."""
        return self.b.sends_next < self.b.send_count

    @property
    def held_bytes(self):
        """Memory that this batch keeps: payloads, their book-keeping, and the Redis bytes."""
        return self.b.payload_bytes + self.b.record_count * RECORD_OVERHEAD_BYTES + self.b.resp_capacity

    def resp_view(self):
        """The Redis bytes without a copy. Valid until `release`: replies to all of them come before."""
        return PyMemoryView_FromMemory(self.b.resp, self.b.resp_used, PyBUF_READ)

    def resp(self):
        """The Redis bytes, copied."""
        return self.b.resp[:self.b.resp_used] if self.b.resp_used else b""

    def runs(self):
        """[Run], in the order in which their first records came."""
        cdef batch_t *b = &self.b
        cdef Py_ssize_t i
        return [
            Run(
                b.runs[i].source_topic_index, b.runs[i].partition, b.runs[i].leader_epoch, b.runs[i].first_offset,
                b.runs[i].last_offset, b.runs[i].received_count, b.runs[i].dropped_count, b.runs[i].dead_count,
                b.runs[i].first_timestamp_ms,
            )
            for i in range(b.run_count)
        ]

    def sends(self):
        """[(record_index, topic_index, key or None, flags, fault)], in the order of sending."""
        cdef batch_t *b = &self.b
        cdef Py_ssize_t i
        result = []
        for i in range(b.send_count):
            send = b.sends[i]
            key = b.keys[send.key_offset:send.key_offset + send.key_bytes] if send.key_bytes else None
            result.append((send.record_index, send.topic_index, key, send.flags, send.fault))
        return result

    def take_sent_counts(self):
        """[(topic_index, sends)] since the last call; topics behind the dead letters' count together."""
        cdef Py_ssize_t[DEAD_LETTER_TOPIC + 2] counts
        cdef Py_ssize_t i
        memset(counts, 0, sizeof(counts))
        for i in range(self.sends_counted, self.b.send_count):
            counts[min(self.b.sends[i].topic_index, DEAD_LETTER_TOPIC + 1)] += 1
        self.sends_counted = self.b.send_count
        return [(i, counts[i]) for i in range(DEAD_LETTER_TOPIC + 2) if counts[i]]

    def verdicts(self):
        """[(verdict, fault)] by record."""
        cdef Py_ssize_t i
        return [(self.b.records[i].verdict, self.b.records[i].fault) for i in range(self.b.record_count)]

    def fault_counts(self):
        """{vocabulary.Fault: events} of the bad events that the fast path found."""
        cdef Py_ssize_t i
        counts = {}
        for i in range(self.b.record_count):
            if self.b.records[i].fault != FAULT_NONE:
                counts[self.b.records[i].fault] = counts.get(self.b.records[i].fault, 0) + 1
        return counts

    def tapped(self, int tap, Py_ssize_t most):
        """(how many events tap number `tap` wants, up to `most` of them as Tapped, spread over the batch)."""
        cdef batch_t *b = &self.b
        cdef Py_ssize_t i, matched = 0, step, at = 0
        for i in range(b.record_count):
            matched += b.records[i].taps >> tap & 1
        if not matched or most < 1:
            return matched, []
        step = (matched + most - 1) // most
        chosen = []
        for i in range(b.record_count):
            if b.records[i].taps >> tap & 1:
                if at % step == 0:
                    chosen.append(self.describe(i))
                at += 1
        return matched, chosen

    cdef object describe(self, Py_ssize_t record_index):
        cdef batch_t *b = &self.b
        cdef record_t *record = &b.records[record_index]
        cdef message_t *message = record.message
        cdef Py_ssize_t i
        topics = []
        for i in range(b.send_count):
            if b.sends[i].record_index == <uint32_t>record_index:
                topics.append(b.sends[i].topic_index)
        return Tapped(
            (<char *>message.payload)[:message.len] if message.payload != NULL else b"",
            b.runs[record.run_index].source_topic_index, message.partition, message.offset, record.timestamp_ms,
            record.verdict, record.fault, topics,
        )

    def reply_ends(self):
        """By record: how many replies the batch has had when this record's are all in."""
        cdef Py_ssize_t i
        return [self.b.records[i].reply_end for i in range(self.b.record_count)]

    def trim_replies(self):
        """Indexes of the replies that say how many members a ZREMRANGEBYRANK took out."""
        return list(self.trims)

    def record_of_reply(self, Py_ssize_t reply_index):
        """Index of the record whose command has this reply: the first whose `reply_end` is behind it."""
        cdef Py_ssize_t low = 0, high = self.b.record_count - 1, middle
        if not 0 <= reply_index < self.b.reply_count:
            raise IndexError(f"reply {reply_index} of {self.b.reply_count}")
        while low < high:
            middle = (low + high) // 2
            if <Py_ssize_t>self.b.records[middle].reply_end > reply_index:
                high = middle
            else:
                low = middle + 1
        return low

    def records_of_run(self, Py_ssize_t run_index):
        """[(record_index, value or None, offset, timestamp_ms)], the values copied."""
        cdef batch_t *b = &self.b
        cdef Py_ssize_t i
        result = []
        for i in range(b.record_count):
            message = b.records[i].message
            if <Py_ssize_t>b.records[i].run_index == run_index:
                value = (<char *>message.payload)[:message.len] if message.payload != NULL else None
                result.append((i, value, message.offset, b.records[i].timestamp_ms))
        return result

    def convert(self, Py_ssize_t record_index, bytes value, int fault=FAULT_NONE):
        """Before `process_batch`: the event that this record stands for, or why it can't be one.

        Non-obvious: a record of an old topic has two values, the event that it was converted into and its own bytes.
        Typed topics and Redis get the event, which the batch keeps until `release` and never moves; dead letters, also
        late ones, get the message's own bytes.
        """
        cdef batch_t *b = &self.b
        if not 0 <= record_index < b.record_count:
            raise IndexError(f"record {record_index} of {b.record_count}")
        if b.converted == NULL:
            b.converted = <converted_t *>calloc(b.record_capacity, sizeof(converted_t))
            if b.converted == NULL:
                raise MemoryError()
        b.converted[record_index].fault = <uint8_t>fault
        if value is not None:
            self.references.append(value)
            b.converted[record_index].data, b.converted[record_index].size = value, len(value)
            b.payload_bytes += len(value)

    def mark_dead(self, Py_ssize_t record_index):
        """A sink refused this record for good: it counts as dead-lettered. False when it was counted before."""
        cdef record_t *record = &self.b.records[record_index]
        if record.verdict == VERDICT_DEAD:
            return False
        if record.verdict == VERDICT_DROPPED:
            self.b.runs[record.run_index].dropped_count -= 1
        record.verdict = VERDICT_DEAD
        self.b.runs[record.run_index].dead_count += 1
        return True

    def load(self, records, correlation_headers=()):
        """Fill the batch from tuples, without Kafka.

        (payload or None, timestamp_ms, topic, source_topic_index, partition, offset, [(header, value)] or None,
        index_only)
        """
        self.release()
        if len(records) > self.events_max:
            raise ValueError(f"{len(records)} records do not fit a batch of {self.events_max}")
        runs = {}
        for row in records:
            load_record(self, row, correlation_headers, runs)


cdef int load_record(Batch batch, tuple row, correlation_headers, dict runs) except -1:
    payload, timestamp_ms, topic, source_topic_index, partition, offset, headers, index_only = row
    cdef batch_t *b = &batch.b
    cdef record_t *record = &b.records[b.record_count]
    cdef bytes topic_bytes = topic.encode()
    cdef bytes message_bytes = bytes(sizeof(message_t))
    cdef bytes value
    cdef run_t *run
    batch.references += [payload, topic_bytes, message_bytes]
    memset(record, 0, sizeof(record_t))
    record.message = <message_t *><char *>message_bytes
    record.message.offset = offset
    record.message.partition = partition
    if payload is not None:
        record.message.payload = <char *><bytes>payload
        record.message.len = len(payload)
    record.timestamp_ms = timestamp_ms
    if headers:
        record.headers = <void *>record         # only whether there are any is looked at
        for wanted in correlation_headers:
            value = next((content for name, content in headers if name == wanted), b"")
            if is_header_id(value, len(value)):
                batch.references.append(value)
                record.correlation, record.correlation_bytes = value, len(value)
                break
    key = (source_topic_index, partition)
    if key not in runs:
        runs[key] = batch.add_run(NULL, topic_bytes, source_topic_index, partition, offset, index_only)
    record.run_index = runs[key]
    run = &b.runs[record.run_index]
    run.last_offset = offset
    if run.received_count == 0:
        run.first_timestamp_ms = timestamp_ms
    run.received_count += 1
    b.payload_bytes += record.message.len
    b.record_count += 1
    return 0
