# Proves at import that message_t is laid out as this librdkafka lays out rd_kafka_message_t.
#
# The headers of librdkafka are not there when this is compiled, so no compiler compares the two. A field that stood
# elsewhere would be read as garbage for every record, or crash: that must be an error with a name, at import.
# It costs about a millisecond, as no broker is needed.

cdef int probe_message_layout() except -1:
    """A record is produced to nowhere and purged: its report must show every field where message_t has it.

    Raises NativeEdgeError. Runs on: the thread that imports. All that is made here is destroyed here.
    """
    cdef char text[ERROR_TEXT_BYTES]
    cdef argument_t arguments[5]
    cdef const message_t *report = NULL
    cdef rkevent_t *event
    cdef int mark
    conf = {"log_level": "0", "message.timeout.ms": "0"}       # no broker: nothing goes out
    cdef rd_kafka_t *rk = f.rd_kafka_new(TYPE_PRODUCER, make_conf(conf, EVENT_DR), text, sizeof(text))
    if rk == NULL:
        raise NativeEdgeError(f"librdkafka could not be started: {text.decode('utf-8', 'replace')}")
    cdef queue_t *queue = f.rd_kafka_queue_get_main(rk)
    cdef rktopic_t *topic = f.rd_kafka_topic_new(rk, b"probe", NULL)
    arguments[0].kind, arguments[0].u.topic = VTYPE_RKT, topic
    arguments[1].kind = VTYPE_VALUE
    arguments[1].u.memory.data, arguments[1].u.memory.size = <char *>b"value", 5
    arguments[2].kind = VTYPE_KEY
    arguments[2].u.memory.data, arguments[2].u.memory.size = <char *>b"key", 3
    arguments[3].kind, arguments[3].u.pointer = VTYPE_OPAQUE, &mark
    arguments[4].kind, arguments[4].u.number = VTYPE_MSGFLAGS, MSG_F_COPY
    cdef rkerror_t *error = f.rd_kafka_produceva(rk, arguments, 5)
    fits = False
    if error == NULL:
        f.rd_kafka_purge(rk, PURGE_F_QUEUE | PURGE_F_INFLIGHT)
        while not fits:
            event = f.rd_kafka_queue_poll(queue, 5000)
            if event == NULL:
                break
            # An error event may come first. It has no message.
            if f.rd_kafka_event_message_array(event, &report, 1) == 1:
                fits = (
                    report.err == ERR_PURGE_QUEUE
                    and report.rkt == topic and report.partition == -1
                    and report.len == 5 and (<char *>report.payload)[:5] == b"value"
                    and report.key_len == 3 and (<char *>report.key)[:3] == b"key"
                    and report.offset == OFFSET_INVALID and report._private == &mark
                )
                f.rd_kafka_event_destroy(event)
                break
            f.rd_kafka_event_destroy(event)
    else:
        f.rd_kafka_error_destroy(error)
    f.rd_kafka_topic_destroy(topic)
    f.rd_kafka_queue_destroy(queue)
    f.rd_kafka_destroy(rk)
    if not fits:
        version = f.rd_kafka_version_str().decode()
        raise NativeEdgeError(f"librdkafka {version} lays out rd_kafka_message_t otherwise; tried with {TESTED_RANGE}")
    return 0
