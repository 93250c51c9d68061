# Which events a consumer's filter wants: the same reading and the same rules as the daemon's, without sends and Redis
# bytes. So a filter in a program means what a rule in the config means.


cdef bint any_rule_matches(RouteTable table, event_t *event) except -1:
    """A table without rules takes everything."""
    cdef Py_ssize_t i
    for i in range(table.rule_count):
        if rule_matches(&table.rules[i], table, event):
            return True
    return table.rule_count == 0


def match_records(Batch batch not None, RouteTable table not None, int64_t now_s=0):
    """[(fault, matched, correlation_id)] by record. Actions of rules mean nothing here; the batch stays as it is."""
    cdef batch_t *b = &batch.b
    cdef event_t event
    cdef Py_ssize_t i
    cdef int fault
    cdef bint matched
    result = []
    table.now_s = now_s
    event.decoded = NULL
    try:
        for i in range(b.record_count):
            fault = take_value(b, i, &event)
            if fault == FAULT_NONE:
                fault = read_event(&b.records[i], table, &event)
            if fault != FAULT_NONE:
                result.append((fault, False, ""))
            else:
                if event.correlation.size == 0:
                    resolve_correlation(&b.records[i], &event)
                matched = any_rule_matches(table, &event)
                result.append((fault, matched, event.correlation.data[:event.correlation.size].decode()
                               if event.correlation.size else ""))
            Py_XDECREF(event.decoded)
            event.decoded = NULL
    finally:
        Py_XDECREF(event.decoded)
    return result
