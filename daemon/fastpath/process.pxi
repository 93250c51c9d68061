# The loop over one batch: check, route, index. Counts stay in the runs; nothing is published here.
#
#   process_batch ─▶ process_records: for each record
#                      read_event        ─▶ a fault: dead_letter_event, and nothing else
#                      resolve_event     id, correlation, apply_rules
#                      send_event        a send_t for each topic
#                      index_event       RESP bytes of all its Redis commands, or none
#
# For an event there is no log line, no metric call and no callback; and of a plain one no Python object, but where a
# sample rule has to hash an id.

cdef enum:
    VERDICT_ROUTED
    VERDICT_DROPPED
    VERDICT_DEAD

cdef enum:
    # Decoding one event takes about as long as two misses of all caches: so the first ten lines of the value after the
    # next are asked for.
    PREFETCH_AHEAD = 2
    PREFETCH_BYTES = 640

cdef extern from *:
    """
    #define prefetch(address) __builtin_prefetch(address)
    """
    void prefetch(const void *address) noexcept nogil

cdef enum:
    BY_TRACE
    BY_CORRELATION
    BY_NONE


cdef inline text_t partition_key(int partition_by, const event_t *event) noexcept nogil:
    cdef text_t none
    none.data, none.size = b"", 0
    if partition_by == BY_NONE:
        return none
    if partition_by == BY_TRACE:
        return event.trace if event.trace.size else event.correlation
    return event.correlation if event.correlation.size else event.trace


cdef inline send_t *add_send(batch_t *b, Py_ssize_t record_index, uint16_t topic, uint8_t flags) noexcept nogil:
    """One more send, in an array that was reserved. Headers of the source are copied when it has some."""
    cdef send_t *send = &b.sends[b.send_count]
    b.send_count += 1
    send.owner = b
    send.record_index = <uint32_t>record_index
    send.key_offset = send.key_bytes = 0
    send.error = send.cause = 0
    send.state = SEND_WAITING
    send.topic_index = topic
    send.flags = flags | (SEND_HEADERS if b.records[record_index].headers != NULL else 0)
    send.fault = FAULT_NONE
    return send


cdef int send_event(batch_t *b, Py_ssize_t record_index, const route_t *route, text_t key) except -1:
    cdef int t
    cdef send_t *send
    cdef Py_ssize_t key_offset = b.key_used
    reserve_sends(b, route.topic_count)
    if key.size:
        reserve_keys(b, key.size)
        memcpy(b.keys + key_offset, key.data, key.size)
        b.key_used += key.size
    for t in range(route.topic_count):
        send = add_send(b, record_index, route.topics[t], 0)
        send.key_offset = <uint32_t>key_offset
        send.key_bytes = <uint32_t>key.size
    return 0


cdef int dead_letter_event(batch_t *b, Py_ssize_t record_index, int fault) except -1:
    """A bad event: one dead letter, nothing to Redis."""
    cdef record_t *record = &b.records[record_index]
    reserve_sends(b, 1)
    add_send(b, record_index, DEAD_LETTER_TOPIC, SEND_DEAD).fault = <uint8_t>fault
    record.verdict = VERDICT_DEAD
    record.fault = <uint8_t>fault
    b.runs[record.run_index].dead_count += 1
    return 0


# The keys of one event.
ctypedef struct keys_t:
    key_t event_key               # events:{type}:{id}
    key_t class_key               # logs:, traces: or alert_events:; size 0: none
    uint32_t event_ttl_s
    uint32_t class_ttl_s
    const key_t *member           # the longest-lived of the two
    const key_t *second_member    # for traces the other one; NULL: none
    uint32_t longest_ttl_s


cdef void choose_keys(RouteTable table, const event_t *event, keys_t *keys) noexcept nogil:
    cdef text_t none
    none.data, none.size = b"", 0
    keys.event_key = make_key(b"events:", TYPE_TEXT[event.type], event.id)
    keys.event_ttl_s = table.events_ttl_s
    keys.class_key.size = 0
    keys.class_ttl_s = 0
    keys.second_member = NULL
    if event.type == LOG:
        keys.class_key = make_key(b"logs:", LEVEL_TEXT[event.level], event.id)
        keys.class_ttl_s = table.error_logs_ttl_s if event.level >= ERROR else table.logs_ttl_s
    elif event.type == TRACE and event.trace.size and event.span.size:
        keys.class_key = make_key(b"traces:", event.trace, event.span)
        keys.class_ttl_s = table.traces_ttl_s
    elif event.type == ALERT:
        keys.class_key = make_key(b"alert_events:", event.id, none)
        keys.class_ttl_s = table.alerts_ttl_s
    keys.longest_ttl_s = keys.class_ttl_s if keys.class_ttl_s > keys.event_ttl_s else keys.event_ttl_s
    if table.compact:
        keys.class_key.size = 0
        keys.event_ttl_s = keys.longest_ttl_s
    keys.member = &keys.event_key
    if keys.class_key.size and keys.class_ttl_s > keys.event_ttl_s:
        keys.member = &keys.class_key
        if event.type == TRACE:
            keys.second_member = &keys.event_key


cdef char *put_index(
    char *at, Batch batch, RouteTable table, IndexCache cache, const key_t *index, uint64_t hash,
    const keys_t *keys, int64_t score_ms,
):
    """ZADD, and where it is their turn EXPIRE and the trim. NULL with an exception when memory is out."""
    cdef batch_t *b = &batch.b
    cdef bint trim = False
    cdef uint32_t ttl_s = 0
    cdef int due = expire_due(
        cache, hash, keys.longest_ttl_s + INDEX_TTL_MARGIN_S, <uint32_t>table.now_s, table.trim_step, &ttl_s, &trim
    )
    at = put_zadd(at, index, score_ms, keys.member, keys.second_member)
    b.reply_count += 1
    if due != TTL_FRESH and (not cache.compares_ttls or ttl_s >= table.index_ttl_max_s):
        at = put_expire(at, index, ttl_s, NULL)           # the longest that there is shortens nothing
        b.reply_count += 1
    elif due != TTL_FRESH:
        if due == TTL_UNKNOWN:
            at = put_expire(at, index, ttl_s, b"NX")
            b.reply_count += 1
        at = put_expire(at, index, ttl_s, b"GT")
        b.reply_count += 1
    if trim:
        at = put_trim(at, index, table.index_members_max)
        batch.trims.append(b.reply_count)
        b.reply_count += 1
    return at


cdef int index_event(
    Batch batch, RouteTable table, IndexCache cache, const record_t *record, const event_t *event
) except -1:
    """All Redis commands of one event, or none.

    Non-obvious: the buffer's end moves only behind the whole commands of an event.
    Half a command would shift every reply that follows.
    """
    cdef batch_t *b = &batch.b
    cdef keys_t keys
    cdef key_t index
    cdef text_t none
    cdef char *at
    cdef const char *value = event.value.data
    cdef Py_ssize_t size = event.value.size
    none.data, none.size = b"", 0
    choose_keys(table, event, &keys)
    # Two SETs with the value, and for each of two indexes one ZADD (two members), two EXPIREs and one trim:
    # ten commands, each with its key; a key is at most an id, a trace and a span with their prefix.
    reserve_resp(b, 2 * size + 10 * COMMAND_FRAME_MAX + 14 * (event.id.size + event.trace.size + event.span.size)
                 + 8 * event.correlation.size)
    at = b.resp + b.resp_used
    at = put_set(at, &keys.event_key, value, size, keys.event_ttl_s)
    b.reply_count += 1
    if keys.class_key.size:
        at = put_set(at, &keys.class_key, value, size, keys.class_ttl_s)
        b.reply_count += 1
    if table.index_correlation and event.correlation.size:
        index = make_key(CORRELATION_INDEX, event.correlation, none)
        at = put_index(at, batch, table, cache, &index,
                       hash_text_key(CORRELATION_INDEX, index.prefix.size, event.correlation), &keys, event.score_ms)
    if table.index_trace and event.trace.size:
        index = make_key(TRACE_INDEX, event.trace, none)
        at = put_index(at, batch, table, cache, &index,
                       hash_text_key(TRACE_INDEX, index.prefix.size, event.trace), &keys, event.score_ms)
    if FASTPATH_DEBUG:
        assert at - b.resp <= b.resp_capacity
    b.resp_used = at - b.resp
    return 0


cdef int resolve_event(
    RouteTable table, const record_t *record, const run_t *run, event_t *event, route_t *route
) except -1:
    """A good event's id, correlation and route."""
    if event.id.size == 0:
        make_fallback_id(record, run, event)
    if event.correlation.size == 0:
        resolve_correlation(record, event)
    return apply_rules(table, event, route)


cdef inline int take_value(const batch_t *b, Py_ssize_t record_index, event_t *event) noexcept nogil:
    """Fills `event.value`: the record's own bytes, or what they were converted into. Gives the fault of a record that
    could not be converted."""
    cdef const message_t *message = b.records[record_index].message
    event.value.data, event.value.size = <const char *>message.payload, <Py_ssize_t>message.len
    if b.converted == NULL:
        return FAULT_NONE
    if b.converted[record_index].data != NULL:
        event.value.data = b.converted[record_index].data
        event.value.size = <Py_ssize_t>b.converted[record_index].size
    return b.converted[record_index].fault


cdef int process_record(
    Batch batch, RouteTable table, IndexCache cache, Py_ssize_t record_index, event_t *event, bint index_alone,
    ErrorCounts errors,
) except -1:
    """One record to its end. `index_alone`: its sends were made before, only the Redis bytes are wanted."""
    cdef batch_t *b = &batch.b
    cdef record_t *record = &b.records[record_index]
    cdef run_t *run = &b.runs[record.run_index]
    cdef route_t route
    cdef int fault = take_value(b, record_index, event)
    if fault == FAULT_NONE:
        fault = read_event(record, table, event)
    if fault != FAULT_NONE:
        record.taps = table.dead_taps
        return 0 if index_alone else dead_letter_event(b, record_index, fault)
    if event.level >= ERROR and event.type == LOG and errors is not None:
        count_error(errors, event.found.texts[SERVICE], event.level - ERROR)
    resolve_event(table, record, run, event, &route)
    if table.tap_count:
        record.taps = find_taps(table, event)
    if not index_alone:
        if route.topic_count and not run.index_only:
            send_event(b, record_index, &route, partition_key(table.partition_by, event))
        if route.dropped:
            record.verdict = VERDICT_DROPPED
            run.dropped_count += 1
    if route.store and table.stored_types_mask >> event.type & 1:
        index_event(batch, table, cache, record, event)
    return 0


cdef inline void prefetch_value(const message_t *message) noexcept nogil:
    """Ask for the first lines of a value that librdkafka's thread wrote long ago, while another is being decoded."""
    cdef const char *value = <const char *>message.payload
    cdef size_t at = 0
    while at < message.len and at < PREFETCH_BYTES:
        prefetch(value + at)
        at += 64


cdef int process_records(
    Batch batch, RouteTable table, IndexCache cache, int64_t now_s, bint index_alone, ErrorCounts errors
) except -1:
    cdef batch_t *b = &batch.b
    cdef event_t event
    cdef Py_ssize_t i
    table.now_s = now_s
    batch.table = table
    event.decoded = NULL
    try:
        for i in range(b.record_count):
            if i + PREFETCH_AHEAD < b.record_count:
                prefetch_value(b.records[i + PREFETCH_AHEAD].message)
            if not (index_alone and b.records[i].verdict == VERDICT_DEAD):
                process_record(batch, table, cache, i, &event, index_alone, errors)
                Py_XDECREF(event.decoded)
                event.decoded = NULL
            b.records[i].reply_end = <uint32_t>b.reply_count
    finally:
        Py_XDECREF(event.decoded)
    return 0


def process_batch(
    Batch batch not None, RouteTable table not None, IndexCache cache not None, int64_t now_s, ErrorCounts errors=None
):
    """Decide about every record of the batch: what is sent where, and what Redis gets. Error logs are counted in
    `errors`, when it is given.

    Runs on: the loop. Called once a batch, on a batch that nobody else looks at.
    """
    cdef batch_t *b = &batch.b
    cdef Py_ssize_t i
    assert b.send_count == 0 and b.resp_used == 0
    for i in range(b.record_count):
        b.records[i].verdict = VERDICT_ROUTED
        b.records[i].fault = FAULT_NONE
        b.records[i].taps = 0
    process_records(batch, table, cache, now_s, False, errors)


def rebuild_index(Batch batch not None, RouteTable table not None, IndexCache cache not None, int64_t now_s):
    """Make the Redis bytes again, after `cache` was cleared: they must not rest on TTLs that Redis may have lost.

    Runs on: the loop, at a reconnect. `table` is the one that the batch was processed with. Sends, verdicts and counts
    stay as they are, and what became a dead letter meanwhile is not indexed.
    """
    batch.b.resp_used = batch.b.reply_count = 0
    batch.trims = []
    process_records(batch, table, cache, now_s, True, None)
