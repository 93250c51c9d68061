# The daemon's Kafka consumer: records from a data queue of our own, the group's events from the consumer queue.
#
# librdkafka fetches ahead, one thread a broker, into a queue for each partition. By default those are forwarded to the
# consumer queue, where records would stand among assigns and revokes: a revoke behind a full prefetch would wait for
# all of it. So `assign` forwards each partition to the data queue, which is read only when there is room for records,
# while the control queue is always read.
#
#   partition queues ──forwarded──▶ data_queue     ──data_fd──▶     take           records, errors of partitions
#   group coordinator ────────────▶ control_queue  ──control_fd──▶  poll_control   assign, revoke
#   everything else ──────────────▶ main_queue     ──main_fd──▶     poll_main      librdkafka's commits, errors, lines
#
# Runs on: the loop, but for `committed`, `list_offsets` and `describe_topics`. The loop's tasks wait for those before
# the handle is destroyed.
#
# A message that was taken belongs to the batch, and is freed by Batch.release through `release_messages`. Its value
# lies in the buffer of the fetch reply, which librdkafka frees with the last message of it.

cdef enum:
    # How far the memory of messages is asked for ahead of the one in hand.
    MESSAGES_AHEAD = 8

cdef extern from *:
    """
    #define prefetch(address) __builtin_prefetch(address)
    """
    void prefetch(const void *address) noexcept nogil


class RecordError(NamedTuple):
    """An error that came in the place of a record."""

    code: int
    name: str
    text: str
    topic: str
    partition: int


class Rebalance(NamedTuple):
    """The group wants partitions to be taken or given back. Answer by assign or unassign, if need be seconds later.

    `lost`: they belong to other members already, so that nothing of them may be stored.
    """

    kind: str                     # "assign" | "revoke"
    partitions: list
    lost: bool


class CommitResult(NamedTuple):
    """Offsets that librdkafka committed, or tried to: `code` 0 is done."""

    code: int
    partitions: list


@cython.final
cdef class Consumer(Handle):
    """The source's handle. Everything runs on the loop, but for what says otherwise.

    options: librdkafka's, as strings. correlation_headers: header names, the first that has a value wins.
    index_only: topics whose records are not produced again.
    """

    cdef queue_t *data_queue
    cdef queue_t *control_queue
    cdef readonly int data_fd, control_fd
    cdef message_t **taken                # what one `take` got, before it is in the batch; kept between calls
    cdef Py_ssize_t taken_capacity
    # A slot is the number that a source topic has in batches, given when its first record comes and kept for good.
    # Non-obvious: the address of an rd_kafka_topic_t may be another topic's after a rebalance.
    # So the addresses are forgotten at each, before the assignment changes. The names are not.
    cdef dict slots_by_address            # address -> slot
    cdef dict slots_by_name
    cdef readonly list topics             # slot -> name
    cdef list correlation_headers
    cdef frozenset index_only

    def __init__(self, dict options, correlation_headers=(), index_only=()):
        self.slots_by_address, self.slots_by_name, self.topics = {}, {}, []
        self.set_correlation_headers(correlation_headers)
        self.index_only = frozenset(index_only)
        self.open(TYPE_CONSUMER, options, EVENT_REBALANCE | EVENT_OFFSET_COMMIT)
        self.control_queue = f.rd_kafka_queue_get_consumer(self.rk)
        self.data_queue = f.rd_kafka_queue_new(self.live())
        self.control_fd = self.wake_by(self.control_queue)
        self.data_fd = self.wake_by(self.data_queue)

    def __dealloc__(self):
        free(self.taken)

    cdef int close_queues(self) except -1:
        f.rd_kafka_queue_io_event_enable(self.data_queue, -1, NULL, 0)
        f.rd_kafka_queue_io_event_enable(self.control_queue, -1, NULL, 0)
        f.rd_kafka_queue_destroy(self.data_queue)
        f.rd_kafka_queue_destroy(self.control_queue)
        return 0

    def set_correlation_headers(self, names):
        """Header names in which a correlation id is looked for from the next `take` on; the first with a value wins."""
        self.correlation_headers = [name.encode() for name in names]

    def subscribe(self, topics):
        """Join the group. Names, or regular expressions that begin with ^. Raises KafkaFailure.

        Does not wait: what the group decides comes by `poll_control`. A second call replaces the first.
        """
        cdef partition_list_t *wanted = make_list([(topic, -1) for topic in topics])
        cdef int code = f.rd_kafka_subscribe(self.live(), wanted)
        f.rd_kafka_topic_partition_list_destroy(wanted)
        if code:
            raise failure(code)

    def take(self, Batch batch not None, Py_ssize_t records_max):
        """Move up to `records_max` fetched records into an empty batch; gives [RecordError]. Never waits.

        Fewer than `records_max` came: the queue was empty, and its eventfd wakes the loop for the next. As many came:
        there may be more, and nothing wakes the loop for those. librdkafka moves its position past what is taken.
        """
        self.live()
        assert batch.b.record_count == 0 and 0 < records_max <= batch.b.record_capacity
        if records_max > self.taken_capacity:
            free(self.taken)
            self.taken_capacity = 0
            self.taken = <message_t **>malloc(records_max * sizeof(message_t *))
            if self.taken == NULL:
                raise MemoryError()
            self.taken_capacity = records_max
        cdef ssize_t count = f.rd_kafka_consume_batch_queue(self.data_queue, 0, self.taken, records_max)
        if count < 0:
            raise failure(ERR_FAIL, "rd_kafka_consume_batch_queue failed")
        # Before the first is described: the batch frees what it has, even if describing fails half-way.
        batch.release_records = release_messages
        return describe_records(self, batch, count)

    def poll_control(self):
        """[Rebalance | CommitResult | KafkaNotice] that wait. Call it every max.poll.interval.ms, also when idle."""
        return self.poll(self.control_queue)

    def poll_main(self):
        """[CommitResult | KafkaNotice] that wait: librdkafka's own commits come here."""
        return self.poll(self.main_queue) + poll_log(self.log_queue)

    cdef list poll(self, queue_t *queue):
        """All events that wait, as objects of ours. A record here is a bug that would lose it: an AssertionError."""
        cdef rkevent_t *event
        cdef int kind
        result = []
        self.live()
        while True:
            event = f.rd_kafka_queue_poll(queue, 0)
            if event == NULL:
                return result
            kind = f.rd_kafka_event_type(event)
            try:
                if kind == EVENT_REBALANCE:
                    result.append(self.read_rebalance(event))
                elif kind == EVENT_OFFSET_COMMIT:
                    code = f.rd_kafka_event_error(event)
                    partitions = read_list(f.rd_kafka_event_topic_partition_list(event))
                    result.append(CommitResult(code, partitions))
                elif kind == EVENT_ERROR or kind == EVENT_LOG:
                    result.append(read_notice(event, kind))
                elif kind != EVENT_STATS:             # these come where the user set statistics.interval.ms
                    raise AssertionError(f"event {kind:#x} on a queue of the consumer: a partition is not forwarded")
            finally:
                f.rd_kafka_event_destroy(event)

    cdef object read_rebalance(self, rkevent_t *event):
        """A Rebalance. Until it is answered by assign or unassign librdkafka delivers nothing, of any partition."""
        cdef int code = f.rd_kafka_event_error(event)
        partitions = [(row.topic, row.partition) for row in read_list(f.rd_kafka_event_topic_partition_list(event))]
        if code == ERR_ASSIGN_PARTITIONS:
            return Rebalance("assign", partitions, False)
        # Anything else is to be answered as a revoke, as rdkafka.h says of the callback.
        return Rebalance("revoke", partitions, bool(f.rd_kafka_assignment_lost(self.live())))

    @property
    def rebalance_protocol(self):
        """`EAGER`, `COOPERATIVE` or `NONE`; known from the first assignment on."""
        cdef const char *name = f.rd_kafka_rebalance_protocol(self.live())
        return name.decode() if name != NULL else "NONE"

    def assign(self, partitions, *, bint incremental):
        """[(topic, partition, offset)]: forward each to the data queue, then start fetching. Raises KafkaFailure.

        incremental: they are added to the assignment, as a cooperative group wants; else they are all of it.
        """
        cdef partition_list_t *wanted
        # Non-obvious: a partition's queue is forwarded before the partition is assigned.
        # Fetching begins with the assignment, and records of one that is not forwarded land on the consumer queue.
        # `poll` stops the daemon then, as nobody would process them there.
        self.forward(partitions)
        self.slots_by_address = {}
        wanted = make_list(partitions)
        try:
            self.change_assignment(wanted, True, incremental)
        finally:
            f.rd_kafka_topic_partition_list_destroy(wanted)
        # Once more: the stop of an unassign just before takes the forwarding back on librdkafka's thread. By now it
        # has. Without it the records would pile up where nobody looks.
        self.forward(partitions)

    cdef int forward(self, partitions) except -1:
        """Have records of these put into the data queue. Raises KafkaFailure. It stays so."""
        cdef queue_t *queue
        for row in partitions:
            queue = f.rd_kafka_queue_get_partition(self.live(), row[0].encode(), row[1])
            if queue == NULL:
                raise failure(ERR_UNKNOWN_PARTITION)
            f.rd_kafka_queue_forward(queue, self.data_queue)
            f.rd_kafka_queue_destroy(queue)
        return 0

    def unassign(self, partitions, *, bint incremental):
        """Give partitions back. librdkafka commits what is stored as a part of it. Raises KafkaFailure.

        What was fetched of them and not taken is thrown away. Not incremental: the whole assignment is given back.
        """
        cdef partition_list_t *given = make_list(partitions)
        self.slots_by_address = {}
        try:
            self.change_assignment(given, False, incremental)
        finally:
            f.rd_kafka_topic_partition_list_destroy(given)

    cdef int change_assignment(self, partition_list_t *partitions, bint add, bint incremental) except -1:
        """Raises KafkaFailure. The list stays the caller's."""
        cdef rkerror_t *error = NULL
        cdef int code
        if incremental:
            if add:
                error = f.rd_kafka_incremental_assign(self.live(), partitions)
            else:
                error = f.rd_kafka_incremental_unassign(self.live(), partitions)
            if error != NULL:
                raise taken_failure(error)
            return 0
        code = f.rd_kafka_assign(self.live(), partitions if add else NULL)
        if code:
            raise failure(code)
        return 0

    def store(self, partitions):
        """[(topic, partition, next_offset, leader_epoch, metadata)]; gives those refused as [PartitionOffset].

        Only notes them: librdkafka's thread commits what is stored every auto.commit.interval.ms, and retries that. It
        takes a lower offset than the one that is stored as well: keeping them rising is the caller's part.
        """
        cdef partition_list_t *stored = make_list(partitions)
        cdef int code = f.rd_kafka_offsets_store(self.live(), stored)
        try:
            return [row for row in read_list(stored) if row.error] if code else []
        finally:
            f.rd_kafka_topic_partition_list_destroy(stored)

    def commit(self, partitions):
        """The same rows as for `store`, also below what was committed; does not wait. The result is a CommitResult.

        Raises KafkaFailure. For starts of partitions alone: librdkafka retries its commits of stored offsets, not this.
        """
        cdef partition_list_t *given = make_list(partitions)
        cdef int code = f.rd_kafka_commit(self.live(), given, 1)
        f.rd_kafka_topic_partition_list_destroy(given)
        if code:
            raise failure(code)

    def positions(self, partitions):
        """[PartitionOffset] of the next record that the application will see. Does not go to the network."""
        cdef partition_list_t *asked = make_list(partitions)
        f.rd_kafka_position(self.live(), asked)
        try:
            return read_list(asked)
        finally:
            f.rd_kafka_topic_partition_list_destroy(asked)

    def cached_watermarks(self, str topic not None, int32_t partition):
        """(low, high) of the last fetch reply, -1001 where there was none yet. Does not go to the network."""
        cdef int64_t low = OFFSET_INVALID, high = OFFSET_INVALID
        f.rd_kafka_get_watermark_offsets(self.live(), topic.encode(), partition, &low, &high)
        return low, high

    def committed(self, partitions, int timeout_ms):
        """[PartitionOffset] of the group, `offset` < 0 where it has none. Raises KafkaFailure.

        Runs on: a helper thread; goes to the network.
        """
        cdef partition_list_t *asked = make_list(partitions)
        cdef int code
        cdef rd_kafka_t *rk = self.live()
        try:
            with nogil:
                code = f.rd_kafka_committed(rk, asked, timeout_ms)
            if code:
                raise failure(code)
            return read_list(asked)
        finally:
            f.rd_kafka_topic_partition_list_destroy(asked)

    def list_offsets(self, partitions, int timeout_ms):
        """[PartitionOffset] for (topic, partition, -1 end | -2 beginning). Runs on: a helper thread."""
        return list_offsets(self.live(), partitions, timeout_ms)

    def describe_topics(self, topics, int timeout_ms):
        """{topic: TopicDescription}. Runs on: a helper thread."""
        return describe_topics(self.live(), topics, timeout_ms)

    def close(self):
        """Begin to leave the group, without waiting. Raises KafkaFailure.

        What the group still has to say comes by the control queue, among it a revoke, which has to be answered. Serve
        `poll_control` until `closed`. rd_kafka_destroy would leave the group too, but blocks while it does.
        """
        cdef rkerror_t *error = f.rd_kafka_consumer_close_queue(self.live(), self.control_queue)
        if error != NULL:
            raise taken_failure(error)

    @property
    def closed(self):
        """Whether the group was left."""
        return bool(f.rd_kafka_consumer_closed(self.live()))


cdef void release_messages(batch_t *b) noexcept:
    """Give the messages back to librdkafka, when the batch is released, or freed with records in it. Cannot fail.

    Runs on: the loop, and only when no send is pending: librdkafka would read freed memory, as values are not copied.
    """
    cdef Py_ssize_t i
    for i in range(b.record_count):
        f.rd_kafka_message_destroy(b.records[i].message)


cdef list describe_records(Consumer consumer, Batch batch, Py_ssize_t count):
    """Fill records and runs from the messages taken, in one pass; errors are taken out of the row."""
    cdef batch_t *b = &batch.b
    cdef record_t *record
    cdef message_t *message
    cdef message_t *following
    cdef run_t *run = NULL
    cdef Py_ssize_t i, kept = 0
    cdef int run_index = -1, time_type
    cdef bint look_for_correlation = len(consumer.correlation_headers) > 0
    # Non-obvious: errors stand among the records, with `err` set and a text as payload.
    # They are no events and no dead letters, and are never in a batch.
    errors = []
    for i in range(count):
        message = consumer.taken[i]
        if i + MESSAGES_AHEAD < count:
            # Written by librdkafka's thread: the message now, its headers' length behind the value a little later.
            prefetch(consumer.taken[i + MESSAGES_AHEAD])
            following = consumer.taken[i + MESSAGES_AHEAD // 2]
            prefetch(<const char *>following.payload + following.len)
        if message.err:
            errors.append(read_record_error(message))
            f.rd_kafka_message_destroy(message)
            continue
        record = &b.records[kept]
        kept += 1
        b.record_count = kept
        record.message = message
        record.headers = NULL
        record.correlation = NULL
        if run == NULL or message.partition != run.partition or message.rkt != run.rkt:
            if run != NULL:
                run.leader_epoch = f.rd_kafka_message_leader_epoch(b.records[kept - 2].message)
            run_index = find_run(consumer, batch, message)
            run = &b.runs[run_index]
        record.run_index = run_index
        run.last_offset = message.offset
        b.payload_bytes += message.len
        record.timestamp_ms = f.rd_kafka_message_timestamp(message, &time_type)
        if run.received_count == 0:
            run.first_timestamp_ms = record.timestamp_ms
        run.received_count += 1
        # Borrowed from the message, as are the headers' values: they end with it. librdkafka parses them at this call.
        if f.rd_kafka_message_headers(message, &record.headers) == 0 and look_for_correlation:
            find_correlation(consumer.correlation_headers, record)
    if run != NULL:
        run.leader_epoch = f.rd_kafka_message_leader_epoch(b.records[kept - 1].message)
    return errors


cdef int find_run(Consumer consumer, Batch batch, message_t *message) except -1:
    """Index of the run of this partition. A batch has few, as librdkafka queues a fetch reply's records together."""
    cdef batch_t *b = &batch.b
    cdef Py_ssize_t i
    cdef const char *name
    for i in range(b.run_count - 1, -1, -1):
        if b.runs[i].rkt == message.rkt and b.runs[i].partition == message.partition:
            return <int>i
    name = f.rd_kafka_topic_name(message.rkt)
    slot = consumer.slots_by_address.get(<size_t>message.rkt)
    if slot is None:
        slot = slot_of_topic(consumer, name.decode())
        consumer.slots_by_address[<size_t>message.rkt] = slot
    index_only = consumer.topics[slot] in consumer.index_only
    return batch.add_run(message.rkt, name, slot, message.partition, message.offset, index_only)


cdef int slot_of_topic(Consumer consumer, str topic) except -1:
    """The number of a source topic, a new one for a new topic."""
    if topic not in consumer.slots_by_name:
        consumer.slots_by_name[topic] = len(consumer.topics)
        consumer.topics.append(topic)
    return consumer.slots_by_name[topic]


cdef int find_correlation(list names, record_t *record) except -1:
    """Point the record at the value of the first of these headers that has one, which stays the message's.

    Of a header that is there several times the first counts.
    """
    # A correlation ID from a header is taken only if it is UTF-8, as look-ups are made with text.
    # One that is not, or that is empty, counts as none, and the next name is looked for.
    cdef const void *value
    cdef size_t size
    cdef bytes name
    for name in names:
        if f.rd_kafka_header_get(record.headers, 0, name, &value, &size) == 0:
            if is_header_id(<const char *>value, size):
                record.correlation, record.correlation_bytes = <const char *>value, size
                return 0
    return 0


cdef object read_record_error(message_t *message):
    """A RecordError, copied: the message stays the caller's, who destroys it."""
    text = (<char *>message.payload)[:message.len] if message.payload != NULL else b""
    topic = f.rd_kafka_topic_name(message.rkt).decode() if message.rkt != NULL else ""
    return RecordError(message.err, error_name(message.err), text.decode("utf-8", "replace"), topic, message.partition)
