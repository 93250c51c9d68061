# Plain C structs that the compiled core and the native edge share: records, sends, runs and the batch that owns them.
# No code, no Python objects.
#
# One batch owns all memory below; pointers into it are valid until the batch is released. What it only borrows are the
# messages (librdkafka's, given back at release) and what they point to: payload, key, headers, the topic's name.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

cdef struct batch_t               # below

# rd_kafka_message_t of librdkafka 2.x; its layout is checked by a probe at import of _librdkafka.
cdef struct message_t:
    int err
    void *rkt
    int32_t partition
    void *payload
    size_t len
    void *key
    size_t key_len
    int64_t offset
    void *_private

# One record taken from Kafka, with what the edge found out so that the core needs no librdkafka call.
cdef struct record_t:
    message_t *message
    int64_t timestamp_ms          # -1: the record has none
    void *headers                 # rd_kafka_headers_t of the message, borrowed; NULL: none
    const char *correlation       # value of the first correlation header that is there; NULL: none
    size_t correlation_bytes
    uint32_t run_index
    uint32_t reply_end            # replies of the batch up to and with this record's
    uint8_t verdict               # vocabulary.Verdict
    uint8_t fault                 # vocabulary.Fault
    uint8_t taps                  # a bit for each tap of the RouteTable that wants to see it

cdef enum:
    SEND_HEADERS = 1              # copy the source record's headers
    SEND_DEAD = 2                 # a dead letter: add the error headers, time now
    SEND_STUB = 4                 # a dead letter that was refused for its size: the first 64 KiB only

cdef enum:                        # send_t.state
    SEND_WAITING                  # not enqueued yet
    SEND_PENDING                  # librdkafka has it and owes a report
    SEND_DELIVERED
    SEND_FAILED                   # reported or refused with send_t.error

# One record to be produced.
# Non-obvious: the opaque of a record is the address of its send_t, so the array must not move while one is pending.
# Librdkafka gives the address back with the delivery report. Sends are added only when the batch owes no report.
cdef struct send_t:
    batch_t *owner
    uint32_t record_index
    uint32_t key_offset           # into batch_t.keys; key_bytes 0: no key
    uint32_t key_bytes
    int32_t error                 # delivery error of the last try; 0: none
    int32_t cause                 # of a dead letter that Kafka refused before: that error
    uint16_t topic_index
    uint8_t flags
    uint8_t fault
    uint8_t state

# What a record of an old topic was turned into before the batch was processed.
cdef struct converted_t:
    const char *data              # NULL: the message's own value stands
    size_t size
    uint8_t fault                 # not 0: it can't be turned, and is a dead letter

# A run of records of one partition inside one batch: the unit that the ledger knows.
cdef struct run_t:
    void *rkt
    const char *topic             # borrowed: lives as long as the records do
    int32_t partition
    int32_t leader_epoch
    int64_t first_offset
    int64_t last_offset
    int64_t first_timestamp_ms    # of its first record; -1: it has none
    uint32_t source_topic_index   # in Consumer.topics, as the edge counts them
    uint32_t received_count
    uint32_t dropped_count
    uint32_t dead_count
    uint8_t index_only

cdef struct batch_t:
    record_t *records
    send_t *sends
    run_t *runs
    char *keys
    char *resp
    converted_t *converted        # by record; NULL: the batch has none of an old topic
    Py_ssize_t record_count, record_capacity
    Py_ssize_t send_count, send_capacity
    Py_ssize_t run_count, run_capacity
    Py_ssize_t key_used, key_capacity
    Py_ssize_t resp_used, resp_capacity
    Py_ssize_t reply_count
    Py_ssize_t payload_bytes
    Py_ssize_t sends_pending      # enqueued and not yet reported
    Py_ssize_t sends_failed       # refused or reported with an error, not yet dealt with
    Py_ssize_t sends_next         # the first that may still be waiting
    bint sends_grouped            # they were put in the order of their output partitions
    void *object                  # the Batch that owns this struct, borrowed
