# Event types and levels by their names. The numbers are those of events/vocabulary.py; a test holds them equal.
#
# Found by length first and then by a few comparisons of a known size, which the compiler turns into single loads: each
# event has a type and a level, and nothing is hashed for them.

cdef enum:
    LOG
    METRIC
    ALERT
    TRACE
    HEALTH
    TYPE_COUNT

cdef enum:
    DEBUG
    INFO
    WARNING
    ERROR
    FATAL
    LEVEL_COUNT

ctypedef struct text_t:
    const char *data
    Py_ssize_t size               # 0: absent

# The names as they stand in Redis keys: an alias is written as what it stands for.
cdef text_t[TYPE_COUNT] TYPE_TEXT
cdef text_t[LEVEL_COUNT] LEVEL_TEXT


cdef inline text_t literal(const char *text) noexcept nogil:
    cdef text_t result
    result.data = text
    result.size = <Py_ssize_t>strlen(text)
    return result


TYPE_TEXT[LOG], TYPE_TEXT[METRIC], TYPE_TEXT[ALERT] = literal(b"log"), literal(b"metric"), literal(b"alert")
TYPE_TEXT[TRACE], TYPE_TEXT[HEALTH] = literal(b"trace"), literal(b"health")
LEVEL_TEXT[DEBUG], LEVEL_TEXT[INFO], LEVEL_TEXT[WARNING] = literal(b"debug"), literal(b"info"), literal(b"warning")
LEVEL_TEXT[ERROR], LEVEL_TEXT[FATAL] = literal(b"error"), literal(b"fatal")


cdef inline int find_type(text_t name) noexcept nogil:
    """The event type, or -1. Exact lower case, as Go consumers compare it."""
    if name.size == 3:
        return LOG if memcmp(name.data, b"log", 3) == 0 else -1
    if name.size == 5:
        if memcmp(name.data, b"trace", 5) == 0:
            return TRACE
        if memcmp(name.data, b"alert", 5) == 0:
            return ALERT
        return LOG if memcmp(name.data, b"error", 5) == 0 else -1
    if name.size == 6:
        if memcmp(name.data, b"metric", 6) == 0:
            return METRIC
        return HEALTH if memcmp(name.data, b"health", 6) == 0 else -1
    return -1


cdef inline int find_level(text_t name) noexcept nogil:
    """The level, or -1. Any ASCII case."""
    cdef char lower[8]
    cdef Py_ssize_t i
    if name.size < 4 or name.size > 8:
        return -1
    for i in range(name.size):
        lower[i] = name.data[i] + 32 if 65 <= name.data[i] <= 90 else name.data[i]
    if name.size == 4:
        if memcmp(lower, b"info", 4) == 0:
            return INFO
        return WARNING if memcmp(lower, b"warn", 4) == 0 else -1
    if name.size == 5:
        if memcmp(lower, b"debug", 5) == 0:
            return DEBUG
        if memcmp(lower, b"error", 5) == 0:
            return ERROR
        return FATAL if memcmp(lower, b"fatal", 5) == 0 else -1
    if name.size == 7:
        return WARNING if memcmp(lower, b"warning", 7) == 0 else -1
    if name.size == 8:
        return FATAL if memcmp(lower, b"critical", 8) == 0 else -1
    return -1
