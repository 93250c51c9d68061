# What consumer, producers and mock cluster share: options, queues with their eventfds, tear-down, errors and log lines.
#
# A handle is one rd_kafka_t: librdkafka's main thread, one thread a broker, and the queues through which they talk. All
# of that is made by rd_kafka_new, and ends only in rd_kafka_destroy.
#
# Who owns what: a Handle owns its rd_kafka_t and each queue that it has asked for, from `open` to `destroy`. What is
# polled from a queue (an event, a message) is the caller's, who destroys it; what an event shows (a list, a text) is
# the event's, and is copied into Python objects before that.

class KafkaNotice(NamedTuple):
    """An error or a log line of librdkafka. `level` as in syslog: 3 error, 4 warning, 6 info, 7 debug."""

    kind: str                     # "error" | "log"
    level: int
    code: int
    name: str
    text: str
    fatal: bool


class PartitionOffset(NamedTuple):
    """One partition with an offset. `offset` < 0: none."""

    topic: str
    partition: int
    offset: int
    leader_epoch: int = -1
    metadata: bytes = b""
    error: int = 0


class TopicDescription(NamedTuple):
    """What the cluster says of one topic. `error` 0: it exists."""

    topic_id: str
    partition_count: int
    error: int


cdef enum:
    SYSLOG_ERROR = 3

# Kept by the interpreter's lock: it is changed while that is held, on whichever thread opens or destroys.
cdef long live_handle_count = 0


def live_handles():
    """How many librdkafka handles of ours exist. For the test that proves tear-down."""
    return live_handle_count


cdef partition_list_t *make_list(partitions) except NULL:
    """(topic, partition[, offset[, leader_epoch[, metadata]]]) as librdkafka's list. The caller destroys it.

    Raises MemoryError. An offset that is not given is RD_KAFKA_OFFSET_INVALID, as librdkafka makes an element.
    """
    cdef partition_list_t *result = f.rd_kafka_topic_partition_list_new(<int>len(partitions))
    cdef partition_t *element
    cdef bytes metadata
    for row in partitions:
        topic = row[0].encode()
        element = f.rd_kafka_topic_partition_list_add(result, topic, row[1])
        if len(row) > 2:
            element.offset = row[2]
        if len(row) > 3 and row[3] >= 0:
            f.rd_kafka_topic_partition_set_leader_epoch(element, row[3])
        if len(row) > 4 and row[4]:
            metadata = row[4]
            # From malloc, as the list frees it with free().
            element.metadata = malloc(len(metadata))
            if element.metadata == NULL:
                f.rd_kafka_topic_partition_list_destroy(result)
                raise MemoryError()
            memcpy(element.metadata, <const char *>metadata, len(metadata))
            element.metadata_size = len(metadata)
    return result


cdef list read_list(partition_list_t *partitions):
    """[PartitionOffset], copied: the list stays its owner's. NULL is an empty one, as some events have none."""
    cdef int i
    cdef partition_t *element
    result = []
    if partitions == NULL:
        return result
    for i in range(partitions.cnt):
        element = &partitions.elems[i]
        metadata = (<char *>element.metadata)[:element.metadata_size] if element.metadata != NULL else b""
        result.append(PartitionOffset(
            element.topic.decode(), element.partition, element.offset,
            f.rd_kafka_topic_partition_get_leader_epoch(element), metadata, element.err,
        ))
    return result


cdef conf_t *make_conf(dict options, int events) except NULL:
    """Options for rd_kafka_new, which takes them over if it succeeds. Raises KafkaFailure for one that is refused.

    events: what is to come as an event on a queue. Without its bit librdkafka would want a callback, or drop it.
    """
    cdef char text[ERROR_TEXT_BYTES]
    cdef conf_t *conf = f.rd_kafka_conf_new()
    for key, value in options.items():
        if f.rd_kafka_conf_set(conf, key.encode(), value.encode(), text, sizeof(text)):
            message = text.decode("utf-8", "replace")
            f.rd_kafka_conf_destroy(conf)
            raise failure(ERR_INVALID_ARG, message)
    f.rd_kafka_conf_set_events(conf, events)
    if events & EVENT_OFFSET_COMMIT:
        # Non-obvious: librdkafka reports its own commits only when a commit callback is set, and then as an event.
        # The callback is never called. Without it commits of stored offsets would pass in silence, failed ones too.
        f.rd_kafka_conf_set_offset_commit_cb(conf, never_called)
    return conf


cdef void never_called(rd_kafka_t *rk, int code, partition_list_t *partitions, void *opaque) noexcept nogil:
    """Stands for a commit callback; see make_conf."""


cdef class Handle:
    """One rd_kafka_t with its main queue. Owner of both; `destroy` may block and belongs on a helper thread.

    Nothing is freed by the garbage collector: a handle that is forgotten goes on working, and `live_handles` shows it.
    """

    cdef rd_kafka_t *rk                   # NULL: destroyed, or never opened
    cdef queue_t *main_queue
    cdef queue_t *log_queue               # NULL: log lines come on the main queue
    cdef readonly int main_fd             # readable when the main queue or the log has something; -1: there is none
    cdef list descriptors                 # the eventfds, closed after librdkafka's threads have ended
    cdef object __weakref__

    cdef int open(self, int kind, dict options, int events, void *reports=NULL, bint wakes=True) except -1:
        """Start librdkafka. Raises KafkaFailure when an option is refused, and nothing is left then.

        `reports`: where on_report counts, for a producer. Without `wakes` a thread waits on the main queue, on which
        log lines come too: no descriptor is made, so that it works where there is no eventfd.
        """
        global live_handle_count
        cdef char text[ERROR_TEXT_BYTES]
        cdef uint64_t one = 1
        cdef conf_t *conf = make_conf({**options, "log.queue": "true"}, events | EVENT_LOG | EVENT_ERROR)
        if reports != NULL:
            f.rd_kafka_conf_set_dr_msg_cb(conf, on_report)
            f.rd_kafka_conf_set_error_cb(conf, on_error)
            f.rd_kafka_conf_set_opaque(conf, reports)
        self.descriptors = []
        self.rk = f.rd_kafka_new(kind, conf, text, sizeof(text))
        if self.rk == NULL:
            message = text.decode("utf-8", "replace")
            f.rd_kafka_conf_destroy(conf)
            raise failure(ERR_INVALID_ARG, message)
        live_handle_count += 1
        self.main_queue = f.rd_kafka_queue_get_main(self.rk)
        if not wakes:
            self.main_fd = -1
            f.rd_kafka_set_log_queue(self.rk, NULL)
            return 0
        self.main_fd = self.wake_by(self.main_queue)
        # Non-obvious: a producer's main queue is served by callbacks, and a log line there would be missed.
        # So lines have a queue of their own. It wakes the main queue's descriptor: where nothing else comes, lines
        # would pile up unseen.
        self.log_queue = f.rd_kafka_queue_new(self.rk)
        f.rd_kafka_queue_io_event_enable(self.log_queue, self.main_fd, &one, sizeof(one))
        f.rd_kafka_set_log_queue(self.rk, self.log_queue)
        return 0

    cdef int wake_by(self, queue_t *queue) except -1:
        """An eventfd that becomes readable when the queue goes from empty to not empty. Raises OSError.

        librdkafka writes `one` into it, on whichever of its threads puts something into the queue. It must not block
        there: EFD_NONBLOCK, and a write that fails as the counter is full has woken the loop already.
        """
        # Non-obvious: an eventfd fires when a queue goes from empty to not empty, not when it is enabled on a full one.
        # Whoever stops before a queue is empty must come back by itself: `take` may have left records, a handle that is
        # new to the loop may have lines already. So resuming schedules a look, and a tick looks without being woken.
        cdef uint64_t one = 1
        descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.descriptors.append(descriptor)
        f.rd_kafka_queue_io_event_enable(queue, descriptor, &one, sizeof(one))
        return descriptor

    cdef int close_queues(self) except -1:
        """Give back the queues and topics of a subclass; called once, before the rd_kafka_t is destroyed."""
        return 0

    def destroy(self):
        """Runs on: a helper thread. May block while librdkafka ends its threads. Does nothing the second time.

        Only when no other thread is in a call on this handle, and none will begin one: the loop's tasks end first.
        """
        # Non-obvious: rd_kafka_destroy never returns while one list, message, queue or topic of the handle is held.
        # `live_handles` counts what is left, and a test compares. The order is: no new calls (`rk` is NULL, and `live`
        # raises); no more wake-ups; the queues; librdkafka's threads; and the descriptors last, as until then one of
        # those threads may write into them, and a number that was closed may be another file's by then.
        global live_handle_count
        cdef rd_kafka_t *rk = self.rk
        if rk == NULL:
            return
        self.rk = NULL
        self.close_queues()
        if self.log_queue != NULL:
            f.rd_kafka_set_log_queue(rk, NULL)
            f.rd_kafka_queue_io_event_enable(self.log_queue, -1, NULL, 0)
            f.rd_kafka_queue_destroy(self.log_queue)
            f.rd_kafka_queue_io_event_enable(self.main_queue, -1, NULL, 0)
        f.rd_kafka_queue_destroy(self.main_queue)
        with nogil:
            f.rd_kafka_destroy(rk)
        live_handle_count -= 1
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = []

    cdef inline rd_kafka_t *live(self) except NULL:
        """The rd_kafka_t, or KafkaFailure when it was destroyed: a call on a destroyed one is a crash."""
        if self.rk == NULL:
            raise failure(ERR_DESTROY, "the handle was destroyed")
        return self.rk

    def fatal_error(self):
        """(code, text) of the error that ended this handle, or None."""
        cdef char text[ERROR_TEXT_BYTES]
        cdef int code = f.rd_kafka_fatal_error(self.live(), text, sizeof(text))
        return (code, text.decode("utf-8", "replace")) if code else None


cdef list poll_log(queue_t *queue):
    """[KafkaNotice] of the log lines that wait. Does not block."""
    cdef rkevent_t *event
    result = []
    while True:
        event = f.rd_kafka_queue_poll(queue, 0)
        if event == NULL:
            return result
        if f.rd_kafka_event_type(event) == EVENT_LOG:
            result.append(read_notice(event, EVENT_LOG))
        f.rd_kafka_event_destroy(event)


cdef object read_notice(rkevent_t *event, int kind):
    """KafkaNotice of an error or log event, copied: the event stays the caller's. A line's `name` is its facility."""
    cdef const char *facility
    cdef const char *line
    cdef int level
    if kind == EVENT_LOG:
        f.rd_kafka_event_log(event, &facility, &line, &level)
        return KafkaNotice("log", level, 0, facility.decode("utf-8", "replace"), line.decode("utf-8", "replace"), False)
    code = f.rd_kafka_event_error(event)
    text = f.rd_kafka_event_error_string(event)
    return KafkaNotice(
        "error", SYSLOG_ERROR, code, error_name(code), text.decode("utf-8", "replace"),
        code == ERR_FATAL or bool(f.rd_kafka_event_error_is_fatal(event)),
    )
