# Error codes of librdkafka by name, and how they become exceptions.
#
# Nowhere else in the daemon or the client library does such a number stand. librdkafka's own codes are negative; the
# broker's, from the Kafka protocol, are positive. A new one: a line in each of the two lists, and one in the .pyi.

cdef enum:
    ERR_FAIL = -196
    ERR_DESTROY = -197
    ERR_MSG_TIMED_OUT = -192
    ERR_UNKNOWN_PARTITION = -190
    ERR_ALL_BROKERS_DOWN = -187
    ERR_INVALID_ARG = -186
    ERR_TIMED_OUT = -185
    ERR_QUEUE_FULL = -184
    ERR_ASSIGN_PARTITIONS = -175
    ERR_NO_OFFSET = -168
    ERR_PURGE_QUEUE = -152
    ERR_PURGE_INFLIGHT = -151
    ERR_FATAL = -150
    ERR_AUTO_OFFSET_RESET = -140
    ERR_INVALID_DIFFERENT_RECORD = -138
    ERR_INVALID_MSG = 2
    ERR_MSG_SIZE_TOO_LARGE = 10
    ERR_RECORD_LIST_TOO_LARGE = 18
    ERR_INVALID_TIMESTAMP = 32
    ERR_INVALID_RECORD = 87


class ErrorCode(IntEnum):
    """librdkafka's error codes that somebody asks for, by its own names without the underscore in front.

    Codes of all other errors are passed on as plain numbers; `error_name` and `error_text` know those too.
    """

    FAIL = ERR_FAIL                                   # a call failed without another reason
    DESTROY = ERR_DESTROY                             # the handle was destroyed, or takes nothing more
    MSG_TIMED_OUT = ERR_MSG_TIMED_OUT                 # no acknowledgement in delivery.timeout.ms; it may have arrived
    UNKNOWN_PARTITION = ERR_UNKNOWN_PARTITION
    ALL_BROKERS_DOWN = ERR_ALL_BROKERS_DOWN
    INVALID_ARG = ERR_INVALID_ARG                     # such as an option that does not exist
    TIMED_OUT = ERR_TIMED_OUT                         # a question to the cluster was not answered
    QUEUE_FULL = ERR_QUEUE_FULL                       # of a producer: the same record may be taken later
    ASSIGN_PARTITIONS = ERR_ASSIGN_PARTITIONS         # no error: how a rebalance event says that it assigns
    NO_OFFSET = ERR_NO_OFFSET                         # no error: a commit found nothing stored
    PURGE_QUEUE = ERR_PURGE_QUEUE                     # taken back by `purge` before it was sent
    PURGE_INFLIGHT = ERR_PURGE_INFLIGHT               # taken back by `purge` after it was sent: it may have arrived
    FATAL = ERR_FATAL                                 # this handle is over; `fatal_error` has the cause
    AUTO_OFFSET_RESET = ERR_AUTO_OFFSET_RESET         # the position is not in the log
    INVALID_DIFFERENT_RECORD = ERR_INVALID_DIFFERENT_RECORD   # another record of the same request was the bad one
    INVALID_MSG = ERR_INVALID_MSG                     # a corrupt record
    MSG_SIZE_TOO_LARGE = ERR_MSG_SIZE_TOO_LARGE
    RECORD_LIST_TOO_LARGE = ERR_RECORD_LIST_TOO_LARGE
    INVALID_TIMESTAMP = ERR_INVALID_TIMESTAMP
    INVALID_RECORD = ERR_INVALID_RECORD


def error_name(int code):
    """`_ALL_BROKERS_DOWN` for -187."""
    return f.rd_kafka_err2name(code).decode()


def error_text(int code):
    """`Local: All broker connections are down` for -187."""
    return f.rd_kafka_err2str(code).decode()


cdef object failure(int code, str text=""):
    """A KafkaFailure to raise. Without a text: librdkafka's own."""
    return KafkaFailure(code, error_name(code), text or error_text(code))


cdef object taken_failure(rkerror_t *error):
    """A KafkaFailure to raise from an error object, which is freed here."""
    result = failure(f.rd_kafka_error_code(error), f.rd_kafka_error_string(error).decode("utf-8", "replace"))
    f.rd_kafka_error_destroy(error)
    return result
