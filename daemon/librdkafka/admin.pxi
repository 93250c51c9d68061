# Questions to the cluster that wait for the answer: offsets of logs, descriptions of topics.
#
# Runs on: a helper thread, with the interpreter's lock released while it waits. An admin request of librdkafka goes to
# its own main thread, which finds the right brokers, asks each and puts one event into the queue that was named. That
# queue is made for the one request and destroyed after it, so that an answer which comes too late for its question is
# freed by librdkafka, and never taken for the answer to the next.
#
# `committed`, ends of logs, descriptions of topics and `destroy` go to the network or block.
# They are never called on the loop: one broker that does not answer would stop the intake, the sinks and the watchdog.

cdef rkevent_t *ask(rd_kafka_t *rk, int operation, void *subject, int timeout_ms) except NULL:
    """Send one admin request and wait for its event. Raises KafkaFailure when there is no answer, or an error.

    subject: a partition list or a topic collection, which stays the caller's. The caller destroys the event, and not
    before it has read the result: the result and all in it belong to the event.
    """
    cdef char text[ERROR_TEXT_BYTES]
    cdef options_t *options = f.rd_kafka_AdminOptions_new(rk, operation)
    cdef queue_t *queue = f.rd_kafka_queue_new(rk)
    cdef rkevent_t *event
    f.rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, text, sizeof(text))
    with nogil:
        if operation == ADMIN_OP_LIST_OFFSETS:
            f.rd_kafka_ListOffsets(rk, <partition_list_t *>subject, options, queue)
        else:
            f.rd_kafka_DescribeTopics(rk, subject, options, queue)
        # The request has its own time-out; this one only guards against an answer that never comes.
        event = f.rd_kafka_queue_poll(queue, timeout_ms + 5000)
        f.rd_kafka_AdminOptions_destroy(options)
        f.rd_kafka_queue_destroy(queue)
    if event == NULL:
        raise failure(ERR_TIMED_OUT)
    cdef int code = f.rd_kafka_event_error(event)
    if code:
        error = failure(code, f.rd_kafka_event_error_string(event).decode("utf-8", "replace"))
        f.rd_kafka_event_destroy(event)
        raise error
    return event


cdef list list_offsets(rd_kafka_t *rk, partitions, int timeout_ms):
    """[PartitionOffset], of which any may have an error of its own while others are good. Raises KafkaFailure."""
    cdef partition_list_t *asked = make_list(partitions)
    cdef rkevent_t *event
    cdef const void **infos
    cdef const partition_t *found
    cdef size_t count, i
    try:
        event = ask(rk, ADMIN_OP_LIST_OFFSETS, asked, timeout_ms)
    finally:
        f.rd_kafka_topic_partition_list_destroy(asked)
    infos = f.rd_kafka_ListOffsets_result_infos(f.rd_kafka_event_ListOffsets_result(event), &count)
    result = []
    for i in range(count):
        found = f.rd_kafka_ListOffsetsResultInfo_topic_partition(infos[i])
        result.append(PartitionOffset(found.topic.decode(), found.partition, found.offset, -1, b"", found.err))
    f.rd_kafka_event_destroy(event)
    return result


cdef dict describe_topics(rd_kafka_t *rk, topics, int timeout_ms):
    """{topic: TopicDescription}, of which any may have an error of its own. Raises KafkaFailure."""
    # Keeps the bytes alive that `pointers` point into, until librdkafka has copied them.
    names = [topic.encode() for topic in topics]
    cdef const char **pointers = <const char **>malloc(max(1, len(names)) * sizeof(char *))
    cdef rkevent_t *event
    cdef const void **found
    cdef const void *topic_id
    cdef const rkerror_t *error
    cdef void *collection
    cdef size_t count, i, partition_count
    if pointers == NULL:
        raise MemoryError()
    for i in range(<size_t>len(names)):
        pointers[i] = <bytes>names[i]
    collection = f.rd_kafka_TopicCollection_of_topic_names(pointers, len(names))
    free(pointers)
    try:
        event = ask(rk, ADMIN_OP_DESCRIBE_TOPICS, collection, timeout_ms)
    finally:
        f.rd_kafka_TopicCollection_destroy(collection)
    found = f.rd_kafka_DescribeTopics_result_topics(f.rd_kafka_event_DescribeTopics_result(event), &count)
    result = {}
    for i in range(count):
        error = f.rd_kafka_TopicDescription_error(found[i])
        code = f.rd_kafka_error_code(error) if error != NULL else 0
        # A cluster before Kafka 2.8 has no ids for topics.
        topic_id = f.rd_kafka_TopicDescription_topic_id(found[i])
        partition_count = 0
        f.rd_kafka_TopicDescription_partitions(found[i], &partition_count)
        result[f.rd_kafka_TopicDescription_name(found[i]).decode()] = TopicDescription(
            f.rd_kafka_Uuid_base64str(topic_id).decode() if topic_id != NULL else "", partition_count, code
        )
    f.rd_kafka_event_destroy(event)
    return result
