# The functions of librdkafka that are called here, taken by name from the library inside the confluent-kafka wheel.
#
# `f` holds them all. Each is resolved once at import; a missing one is an error that names it and the version.
# To add a call: one line in functions_t, as rdkafka.h declares it. setup.py writes the table of names from that.
# All of librdkafka is C without exceptions: `noexcept nogil` says that, and that any thread may call it.

# Opaque to us: only librdkafka looks inside, and each is freed by the function of librdkafka that its type has.

ctypedef void rd_kafka_t
ctypedef void conf_t
ctypedef void queue_t
ctypedef void rkevent_t
ctypedef void rkerror_t
ctypedef void rktopic_t
ctypedef void headers_t
ctypedef void options_t
ctypedef void result_t

# rd_kafka_topic_partition_t and its list (rdkafka.h); public and stable since 0.9. The list owns everything in it:
# topics and metadata are freed with it. librdkafka copies what it keeps of a list that it is given.
cdef struct partition_t:
    char *topic
    int32_t partition
    int64_t offset
    void *metadata
    size_t metadata_size
    void *opaque
    int err
    void *private

cdef struct partition_list_t:
    int cnt
    int size
    partition_t *elems

# rd_kafka_vu_t: one tagged argument of rd_kafka_produceva. The 64 bytes of padding are part of librdkafka's ABI.
cdef struct memory_value_t:
    void *data
    size_t size

cdef union value_u:
    rktopic_t *topic
    int32_t number
    int64_t big_number
    memory_value_t memory
    headers_t *headers
    void *pointer
    char padding[64]

cdef struct argument_t:
    int kind
    value_u u

# From rdkafka.h, where they have the prefix RD_KAFKA_.
cdef enum:
    VTYPE_RKT = 2
    VTYPE_VALUE = 4
    VTYPE_KEY = 5
    VTYPE_OPAQUE = 6
    VTYPE_MSGFLAGS = 7
    VTYPE_TIMESTAMP = 8
    VTYPE_HEADERS = 10
    MSG_F_COPY = 2
    PURGE_F_QUEUE = 1
    PURGE_F_INFLIGHT = 2
    PURGE_F_NON_BLOCKING = 4
    OFFSET_INVALID = -1001
    TYPE_PRODUCER = 0
    TYPE_CONSUMER = 1
    EVENT_DR = 0x1
    EVENT_LOG = 0x4
    EVENT_ERROR = 0x8
    EVENT_REBALANCE = 0x10
    EVENT_OFFSET_COMMIT = 0x20
    EVENT_STATS = 0x40
    EVENT_TOKEN_REFRESH = 0x100
    ADMIN_OP_DESCRIBE_TOPICS = 19
    ADMIN_OP_LIST_OFFSETS = 21
    ERROR_TEXT_BYTES = 512

cdef struct functions_t:
    int (*rd_kafka_version)() noexcept nogil
    const char *(*rd_kafka_version_str)() noexcept nogil
    const char *(*rd_kafka_err2name)(int) noexcept nogil
    const char *(*rd_kafka_err2str)(int) noexcept nogil
    conf_t *(*rd_kafka_conf_new)() noexcept nogil
    void (*rd_kafka_conf_destroy)(conf_t *) noexcept nogil
    int (*rd_kafka_conf_set)(conf_t *, const char *, const char *, char *, size_t) noexcept nogil
    void (*rd_kafka_conf_set_events)(conf_t *, int) noexcept nogil
    void (*rd_kafka_conf_set_offset_commit_cb)(
        conf_t *, void (*)(rd_kafka_t *, int, partition_list_t *, void *) noexcept nogil
    ) noexcept nogil
    void (*rd_kafka_conf_set_dr_msg_cb)(
        conf_t *, void (*)(rd_kafka_t *, const message_t *, void *) noexcept nogil
    ) noexcept nogil
    void (*rd_kafka_conf_set_error_cb)(
        conf_t *, void (*)(rd_kafka_t *, int, const char *, void *) noexcept nogil
    ) noexcept nogil
    void (*rd_kafka_conf_set_opaque)(conf_t *, void *) noexcept nogil
    rd_kafka_t *(*rd_kafka_new)(int, conf_t *, char *, size_t) noexcept nogil
    void (*rd_kafka_destroy)(rd_kafka_t *) noexcept nogil
    int (*rd_kafka_set_log_queue)(rd_kafka_t *, queue_t *) noexcept nogil
    int (*rd_kafka_fatal_error)(rd_kafka_t *, char *, size_t) noexcept nogil
    int (*rd_kafka_test_fatal_error)(rd_kafka_t *, int, const char *) noexcept nogil
    int (*rd_kafka_outq_len)(rd_kafka_t *) noexcept nogil
    int (*rd_kafka_purge)(rd_kafka_t *, int) noexcept nogil
    int (*rd_kafka_flush)(rd_kafka_t *, int) noexcept nogil
    int (*rd_kafka_oauthbearer_set_token)(
        rd_kafka_t *, const char *, int64_t, const char *, const char **, size_t, char *, size_t
    ) noexcept nogil
    int (*rd_kafka_oauthbearer_set_token_failure)(rd_kafka_t *, const char *) noexcept nogil
    queue_t *(*rd_kafka_queue_new)(rd_kafka_t *) noexcept nogil
    void (*rd_kafka_queue_destroy)(queue_t *) noexcept nogil
    queue_t *(*rd_kafka_queue_get_main)(rd_kafka_t *) noexcept nogil
    queue_t *(*rd_kafka_queue_get_consumer)(rd_kafka_t *) noexcept nogil
    queue_t *(*rd_kafka_queue_get_partition)(rd_kafka_t *, const char *, int32_t) noexcept nogil
    void (*rd_kafka_queue_forward)(queue_t *, queue_t *) noexcept nogil
    void (*rd_kafka_queue_yield)(queue_t *) noexcept nogil
    void (*rd_kafka_queue_io_event_enable)(queue_t *, int, const void *, size_t) noexcept nogil
    rkevent_t *(*rd_kafka_queue_poll)(queue_t *, int) noexcept nogil
    int (*rd_kafka_queue_poll_callback)(queue_t *, int) noexcept nogil
    int (*rd_kafka_event_type)(rkevent_t *) noexcept nogil
    void (*rd_kafka_event_destroy)(rkevent_t *) noexcept nogil
    int (*rd_kafka_event_error)(rkevent_t *) noexcept nogil
    const char *(*rd_kafka_event_error_string)(rkevent_t *) noexcept nogil
    int (*rd_kafka_event_error_is_fatal)(rkevent_t *) noexcept nogil
    int (*rd_kafka_event_log)(rkevent_t *, const char **, const char **, int *) noexcept nogil
    size_t (*rd_kafka_event_message_array)(rkevent_t *, const message_t **, size_t) noexcept nogil
    const message_t *(*rd_kafka_event_message_next)(rkevent_t *) noexcept nogil
    const char *(*rd_kafka_event_config_string)(rkevent_t *) noexcept nogil
    partition_list_t *(*rd_kafka_event_topic_partition_list)(rkevent_t *) noexcept nogil
    partition_list_t *(*rd_kafka_topic_partition_list_new)(int) noexcept nogil
    void (*rd_kafka_topic_partition_list_destroy)(partition_list_t *) noexcept nogil
    partition_t *(*rd_kafka_topic_partition_list_add)(partition_list_t *, const char *, int32_t) noexcept nogil
    int32_t (*rd_kafka_topic_partition_get_leader_epoch)(const partition_t *) noexcept nogil
    void (*rd_kafka_topic_partition_set_leader_epoch)(partition_t *, int32_t) noexcept nogil
    int (*rd_kafka_subscribe)(rd_kafka_t *, partition_list_t *) noexcept nogil
    int (*rd_kafka_assign)(rd_kafka_t *, partition_list_t *) noexcept nogil
    rkerror_t *(*rd_kafka_incremental_assign)(rd_kafka_t *, partition_list_t *) noexcept nogil
    rkerror_t *(*rd_kafka_incremental_unassign)(rd_kafka_t *, partition_list_t *) noexcept nogil
    int (*rd_kafka_assignment_lost)(rd_kafka_t *) noexcept nogil
    const char *(*rd_kafka_rebalance_protocol)(rd_kafka_t *) noexcept nogil
    int (*rd_kafka_offsets_store)(rd_kafka_t *, partition_list_t *) noexcept nogil
    int (*rd_kafka_commit)(rd_kafka_t *, const partition_list_t *, int) noexcept nogil
    int (*rd_kafka_committed)(rd_kafka_t *, partition_list_t *, int) noexcept nogil
    int (*rd_kafka_position)(rd_kafka_t *, partition_list_t *) noexcept nogil
    int (*rd_kafka_get_watermark_offsets)(rd_kafka_t *, const char *, int32_t, int64_t *, int64_t *) noexcept nogil
    rkerror_t *(*rd_kafka_consumer_close_queue)(rd_kafka_t *, queue_t *) noexcept nogil
    int (*rd_kafka_consumer_closed)(rd_kafka_t *) noexcept nogil
    ssize_t (*rd_kafka_consume_batch_queue)(queue_t *, int, message_t **, size_t) noexcept nogil
    void (*rd_kafka_message_destroy)(message_t *) noexcept nogil
    int64_t (*rd_kafka_message_timestamp)(const message_t *, int *) noexcept nogil
    int (*rd_kafka_message_headers)(const message_t *, headers_t **) noexcept nogil
    int32_t (*rd_kafka_message_leader_epoch)(const message_t *) noexcept nogil
    headers_t *(*rd_kafka_headers_new)(size_t) noexcept nogil
    headers_t *(*rd_kafka_headers_copy)(const headers_t *) noexcept nogil
    void (*rd_kafka_headers_destroy)(headers_t *) noexcept nogil
    int (*rd_kafka_header_add)(headers_t *, const char *, ssize_t, const void *, ssize_t) noexcept nogil
    int (*rd_kafka_header_get)(const headers_t *, size_t, const char *, const void **, size_t *) noexcept nogil
    rktopic_t *(*rd_kafka_topic_new)(rd_kafka_t *, const char *, void *) noexcept nogil
    void (*rd_kafka_topic_destroy)(rktopic_t *) noexcept nogil
    const char *(*rd_kafka_topic_name)(const rktopic_t *) noexcept nogil
    rkerror_t *(*rd_kafka_produceva)(rd_kafka_t *, const argument_t *, size_t) noexcept nogil
    int (*rd_kafka_error_code)(const rkerror_t *) noexcept nogil
    const char *(*rd_kafka_error_string)(const rkerror_t *) noexcept nogil
    void (*rd_kafka_error_destroy)(rkerror_t *) noexcept nogil
    options_t *(*rd_kafka_AdminOptions_new)(rd_kafka_t *, int) noexcept nogil
    void (*rd_kafka_AdminOptions_destroy)(options_t *) noexcept nogil
    int (*rd_kafka_AdminOptions_set_request_timeout)(options_t *, int, char *, size_t) noexcept nogil
    void (*rd_kafka_ListOffsets)(rd_kafka_t *, partition_list_t *, const options_t *, queue_t *) noexcept nogil
    const result_t *(*rd_kafka_event_ListOffsets_result)(rkevent_t *) noexcept nogil
    const void **(*rd_kafka_ListOffsets_result_infos)(const result_t *, size_t *) noexcept nogil
    const partition_t *(*rd_kafka_ListOffsetsResultInfo_topic_partition)(const void *) noexcept nogil
    void *(*rd_kafka_TopicCollection_of_topic_names)(const char **, size_t) noexcept nogil
    void (*rd_kafka_TopicCollection_destroy)(void *) noexcept nogil
    void (*rd_kafka_DescribeTopics)(rd_kafka_t *, const void *, const options_t *, queue_t *) noexcept nogil
    const result_t *(*rd_kafka_event_DescribeTopics_result)(rkevent_t *) noexcept nogil
    const void **(*rd_kafka_DescribeTopics_result_topics)(const result_t *, size_t *) noexcept nogil
    const char *(*rd_kafka_TopicDescription_name)(const void *) noexcept nogil
    const rkerror_t *(*rd_kafka_TopicDescription_error)(const void *) noexcept nogil
    const void *(*rd_kafka_TopicDescription_topic_id)(const void *) noexcept nogil
    const void **(*rd_kafka_TopicDescription_partitions)(const void *, size_t *) noexcept nogil
    const char *(*rd_kafka_Uuid_base64str)(const void *) noexcept nogil
    void *(*rd_kafka_mock_cluster_new)(rd_kafka_t *, int) noexcept nogil
    void (*rd_kafka_mock_cluster_destroy)(void *) noexcept nogil
    const char *(*rd_kafka_mock_cluster_bootstraps)(const void *) noexcept nogil
    int (*rd_kafka_mock_topic_create)(void *, const char *, int, int) noexcept nogil
    void (*rd_kafka_mock_push_request_errors_array)(void *, int16_t, size_t, const int *) noexcept nogil
    void (*rd_kafka_mock_clear_request_errors)(void *, int16_t) noexcept nogil
    int (*rd_kafka_mock_broker_set_down)(void *, int32_t) noexcept nogil
    int (*rd_kafka_mock_broker_set_up)(void *, int32_t) noexcept nogil
    int (*rd_kafka_mock_broker_set_rtt)(void *, int32_t, int) noexcept nogil
    void (*rd_kafka_mock_group_initial_rebalance_delay_ms)(void *, int32_t) noexcept nogil


# Written once, by `resolve` at import, before any other code of this module runs; read without a lock ever after.
cdef functions_t f

# FUNCTION_NAMES: the fields of functions_t in their order, written by setup.py from the lines above.
include "librdkafka_names.pxi"

cdef extern from "dlfcn.h":
    void *dlopen(const char *path, int flags) noexcept
    void *dlsym(void *library, const char *name) noexcept
    int RTLD_NOW, RTLD_NOLOAD


cdef int resolve() except -1:
    """Fill `f` from the library that confluent_kafka has loaded, so that there is one librdkafka in the process.

    Raises NativeEdgeError, which names each function that this librdkafka lacks. Runs on: the thread that imports.
    """
    path = confluent_kafka.cimpl.__file__.encode()
    # The library is loaded already, and stays so as long as the process lives: it is never closed here.
    cdef void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD)
    cdef void **slots = <void **>&f
    cdef Py_ssize_t i
    if library == NULL:
        raise NativeEdgeError("confluent-kafka has no compiled module: reinstall it from its wheel")
    # Each field is one pointer, so that the struct can be filled as an array. A field of another kind, or one that
    # setup.py did not find, would shift every call behind it onto the wrong function.
    assert sizeof(functions_t) == len(FUNCTION_NAMES) * sizeof(void *), "setup.py does not see every field"
    missing = []
    for i, name in enumerate(FUNCTION_NAMES):
        slots[i] = dlsym(library, name.encode())
        if slots[i] == NULL:
            missing.append(name)
    found = f.rd_kafka_version_str().decode() if f.rd_kafka_version_str != NULL else "unknown"
    if missing:
        raise NativeEdgeError(f"librdkafka {found} lacks {', '.join(missing)}; tried with {TESTED_RANGE}")
    if not VERSION_MIN <= f.rd_kafka_version() < VERSION_END:
        raise NativeEdgeError(f"librdkafka {found} is not in the range that was tried: {TESTED_RANGE}")
    return 0


# Non-obvious: before librdkafka 2.13.2, `rd_kafka_consume_batch_queue` moved the position past an error.
# Hence the lower bound. The upper one: 3.0 may change the structs that are drawn above.
VERSION_MIN = 0x020D02FF
VERSION_END = 0x03000000
TESTED_RANGE = "2.13.2 up to, not including, 3.0"
