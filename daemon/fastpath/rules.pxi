# The rules, compiled by events/rules.py to masks, sets and small ints, and walked for one event.
#
# A rule's match is an AND of what it names, and an OR within each. The cheapest questions come first: two masks, then
# sets of bytes, labels last, as a label has to be looked for in the event. Masks of 0 and sets without slots match all.
# drop, keep and route end the walk; copy, sample and no_store go on, so their order in the config matters.

cdef enum:
    DROP
    KEEP
    ROUTE
    COPY
    SAMPLE
    NO_STORE

cdef enum:
    # Topics of one event: its typed topic and what copies add. The config check names this limit.
    TOPICS_PER_EVENT_MAX = 32
    # Taps that are open at once: a bit of record_t.taps each.
    TAPS_MAX = 8
    DEAD_LETTER_TOPIC = 5

# A label that a rule asks for, and its values.
ctypedef struct label_t:
    text_t key
    text_set_t values

ctypedef struct rule_t:
    uint8_t types_mask            # 0: any
    uint8_t levels_mask           # 0: any
    uint8_t action
    uint8_t topic_count
    uint16_t topics[TOPICS_PER_EVENT_MAX]
    uint64_t threshold            # SAMPLE: kept when the randomness is at least this
    text_set_t services           # of each, slots NULL: any
    text_set_t components
    text_set_t correlation_ids
    label_t *labels
    int label_count

# Where one event goes.
ctypedef struct route_t:
    int topic_count
    uint16_t topics[TOPICS_PER_EVENT_MAX]
    bint dropped
    bint store

cdef extern from "Python.h":
    PyObject *PyDict_GetItem(PyObject *mapping, PyObject *key) noexcept
    object PyUnicode_FromStringAndSize(const char *text, Py_ssize_t size)


cdef inline void add_topic(route_t *route, uint16_t topic) noexcept nogil:
    cdef int i
    for i in range(route.topic_count):
        if route.topics[i] == topic:
            return
    if route.topic_count < TOPICS_PER_EVENT_MAX:
        route.topics[route.topic_count] = topic
        route.topic_count += 1


cdef bint read_label(const label_t *label, RouteTable table, event_t *event, text_t *value) except -1:
    """The text of one label. False: absent, or no text."""
    cdef PyObject *found
    if event.decoded == NULL:
        return event.found.labels.data != NULL and find_label(event.found.labels, &label.key, value)
    found = field_at(event.decoded, table.offsets[LABELS])
    if found == Py_None:
        return False
    key = PyUnicode_FromStringAndSize(label.key.data, label.key.size)
    found = PyDict_GetItem(found, <PyObject *>key)
    if found == NULL or not PyUnicode_CheckExact(found):
        return False
    value[0] = read_text(found)
    return True


cdef bint rule_matches(const rule_t *rule, RouteTable table, event_t *event) except -1:
    cdef text_t value
    cdef int i
    if rule.types_mask and not rule.types_mask >> event.type & 1:
        return False
    if rule.levels_mask and not rule.levels_mask >> event.level & 1:
        return False
    if rule.services.slots != NULL and not set_has(&rule.services, &event.found.texts[SERVICE]):
        return False
    if rule.components.slots != NULL and not set_has(&rule.components, &event.found.texts[COMPONENT]):
        return False
    if rule.correlation_ids.slots != NULL:
        value = event.correlation
        if value.size == 0:
            value = literal(b"")                      # an event without one has the empty one
        if not set_has(&rule.correlation_ids, &value):
            return False
    for i in range(rule.label_count):
        if not read_label(&rule.labels[i], table, event, &value) or not set_has(&rule.labels[i].values, &value):
            return False
    return True


cdef uint64_t randomness(const event_t *event) except? 0:
    """56 bits that every host and the client derive alike: from a W3C trace id itself, else from SHA-256."""
    cdef text_t key = event.trace if event.trace.size else event.correlation if event.correlation.size else event.id
    cdef uint64_t bits = 0
    cdef int i, digit
    if key.size == 32:
        for i in range(32):
            digit = key.data[i]
            if 48 <= digit <= 57:
                digit -= 48
            elif 97 <= digit <= 102:
                digit -= 87
            elif 65 <= digit <= 70:
                digit -= 55
            else:
                break
            bits = bits << 4 | <uint64_t>digit
        else:
            return bits & RANDOMNESS_MASK
    return int.from_bytes(sha256(key.data[:key.size]).digest()[:8], "big") & RANDOMNESS_MASK


cdef int apply_rules(RouteTable table, event_t *event, route_t *route) except -1:
    """Fills `route`: the typed topic or a ROUTE's topics first, then the copies in the order of the rules."""
    cdef Py_ssize_t i
    cdef int t
    cdef const rule_t *rule
    cdef const rule_t *routed_by = NULL
    cdef route_t copies
    copies.topic_count = 0
    route.topic_count = 0
    route.dropped = False
    route.store = True
    for i in range(table.rule_count):
        rule = &table.rules[i]
        if not rule_matches(rule, table, event):
            continue
        if rule.action == COPY:
            for t in range(rule.topic_count):
                add_topic(&copies, rule.topics[t])
        elif rule.action == NO_STORE:
            route.store = False
        elif rule.action == SAMPLE:
            if randomness(event) < rule.threshold:
                route.dropped = True
                break
        elif rule.action == ROUTE:
            routed_by = rule
            break
        else:
            route.dropped = rule.action == DROP
            break
    if route.dropped:
        route.store = False
    elif routed_by != NULL:
        for t in range(routed_by.topic_count):
            add_topic(route, routed_by.topics[t])
    else:
        add_topic(route, <uint16_t>event.type)
    for t in range(copies.topic_count):
        add_topic(route, copies.topics[t])
    return 0


cdef int find_taps(RouteTable table, event_t *event) except -1:
    """A bit for each tap whose match the event meets."""
    cdef int i, found = 0
    for i in range(table.tap_count):
        if rule_matches(&table.taps[i], table, event):
            found |= 1 << i
    return found


@cython.final
cdef class RouteTable:
    """Rules and storage settings as the loop reads them. Never changed: a reload or a tap builds another one.

    A batch keeps the table that it was processed with, as its Redis bytes may have to be built again.
    taps: rules of which only the match counts, one for each open tap; dead_taps: a bit for each that sees bad events.
    scans False: every event is read by msgspec, for the tests that compare the two ways.
    Owner of the rules' C array and of the sets in it; the texts in the sets belong to `kept`.
    """

    cdef rule_t *rules
    cdef readonly Py_ssize_t rule_count
    cdef rule_t *taps
    cdef readonly int tap_count
    cdef uint8_t dead_taps
    cdef list kept                # what the rules and the decoder borrow
    cdef object struct, decoder
    cdef PyObject *decode         # borrowed from kept
    cdef PyObject *decode_unjudged
    cdef RecordView view
    cdef Py_ssize_t offsets[FIELD_COUNT]
    cdef Py_ssize_t carrier_offset
    cdef bint label_rules         # some rule asks for labels
    cdef bint scans
    cdef int64_t now_s            # of the batch in hand
    cdef Py_ssize_t event_bytes_max
    cdef int partition_by
    cdef unsigned int stored_types_mask
    cdef bint index_correlation, index_trace, compact
    cdef uint32_t events_ttl_s, logs_ttl_s, error_logs_ttl_s, traces_ttl_s, alerts_ttl_s
    cdef uint32_t index_ttl_max_s # of all classes, with the margin
    cdef int64_t index_members_max
    cdef uint32_t trim_step

    def __init__(
        self, rules, *, int partition_by, Py_ssize_t event_bytes_max, unsigned int stored_types_mask,
        bint index_correlation, bint index_trace, bint compact, uint32_t events_ttl_s, uint32_t logs_ttl_s,
        uint32_t error_logs_ttl_s, uint32_t traces_ttl_s, uint32_t alerts_ttl_s, int64_t index_members_max,
        taps=(), uint8_t dead_taps=0, bint scans=True,
    ):
        self.partition_by = partition_by
        self.event_bytes_max = event_bytes_max
        self.stored_types_mask = stored_types_mask
        self.index_correlation, self.index_trace, self.compact = index_correlation, index_trace, compact
        self.events_ttl_s, self.logs_ttl_s, self.error_logs_ttl_s = events_ttl_s, logs_ttl_s, error_logs_ttl_s
        self.traces_ttl_s, self.alerts_ttl_s = traces_ttl_s, alerts_ttl_s
        self.index_ttl_max_s = INDEX_TTL_MARGIN_S + max(
            events_ttl_s, logs_ttl_s, error_logs_ttl_s, traces_ttl_s, alerts_ttl_s
        )
        self.index_members_max = index_members_max
        # Often enough that a group is over its limit by less than a part in sixteen, seldom enough to cost nothing.
        self.trim_step = max(1, min(64, index_members_max // 16)) if index_members_max else 0
        if len(taps) > TAPS_MAX:
            raise ValueError(f"{len(taps)} taps are more than {TAPS_MAX}")
        self.dead_taps = dead_taps
        self.label_rules = any(rule.labels for rule in (*rules, *taps))
        self.scans = scans
        self.view = RecordView()
        self.kept = []
        self.prepare_decoder()
        self.rules = <rule_t *>calloc(len(rules) + len(taps) + 1, sizeof(rule_t))
        if self.rules == NULL:
            raise MemoryError()
        self.taps = self.rules + len(rules)
        for rule in rules:
            self.rule_count += 1                      # from here on `__dealloc__` frees what it has
            self.fill_rule(&self.rules[self.rule_count - 1], rule)
        for rule in taps:
            self.tap_count += 1
            self.fill_rule(&self.taps[self.tap_count - 1], rule)

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.rule_count):
            free_rule(&self.rules[i])
        for i in range(self.tap_count):
            free_rule(&self.taps[i])
        free(self.rules)

    cdef int prepare_decoder(self) except -1:
        cdef object struct = event_struct(self.label_rules)
        again = DecodeUnjudged(struct, self.label_rules)
        self.kept.append(again)
        self.decode_unjudged = <PyObject *>again
        decode = msgspec.json.Decoder(struct).decode
        self.kept.append(decode)
        self.decode = <PyObject *>decode
        for i, name in enumerate(EVENT_FIELDS):
            self.offsets[i] = checked_offset(struct, name)
        self.carrier_offset = checked_offset(Carrier, "correlation_id")
        return 0

    cdef int fill_rule(self, rule_t *rule, object compiled) except -1:
        if len(compiled.topics) > TOPICS_PER_EVENT_MAX:
            raise ValueError(f"a rule names {len(compiled.topics)} topics, more than {TOPICS_PER_EVENT_MAX}")
        rule.types_mask, rule.levels_mask = compiled.types_mask, compiled.levels_mask
        rule.action, rule.threshold = compiled.action, compiled.threshold
        rule.topic_count = <uint8_t>len(compiled.topics)
        for i, topic in enumerate(compiled.topics):
            rule.topics[i] = topic
        self.keep_set(&rule.services, compiled.services)
        self.keep_set(&rule.components, compiled.components)
        self.keep_set(&rule.correlation_ids, compiled.correlation_ids)
        if compiled.labels:
            rule.labels = <label_t *>calloc(len(compiled.labels), sizeof(label_t))
            if rule.labels == NULL:
                raise MemoryError()
        for key, values in compiled.labels:
            rule.labels[rule.label_count].key = as_text(self.keep_text(key))
            rule.label_count += 1
            self.keep_set(&rule.labels[rule.label_count - 1].values, values)
        return 0

    cdef bytes keep_text(self, str text):
        encoded = text.encode()
        self.kept.append(encoded)
        return encoded

    cdef int keep_set(self, text_set_t *texts, object values) except -1:
        if values is not None:
            make_set(texts, [self.keep_text(value) for value in values])
        return 0


cdef void free_rule(rule_t *rule) noexcept:
    cdef int i
    free(rule.services.slots)
    free(rule.components.slots)
    free(rule.correlation_ids.slots)
    for i in range(rule.label_count):
        free(rule.labels[i].values.slots)
    free(rule.labels)


OTHER_LAYOUT = f"msgspec {msgspec.__version__} keeps Struct fields in another way than the fast path reads them"


cdef Py_ssize_t checked_offset(object struct, str name) except -1:
    """The offset of a Struct's field, proved by reading a value through it.

    Non-obvious: fields are read at their place in msgspec's Struct, so the place is proved at import, else it refuses.
    msgspec promises nothing about its layout: another one is an ImportError that names the release.
    """
    return proved_offset(struct, struct(), name)


cdef Py_ssize_t proved_offset(object struct, object probe, str name) except -1:
    """As `checked_offset`, with an instance of the Struct, whose field is left as it was."""
    descriptor = struct.__dict__[name]
    if type(descriptor) is not MemberDescriptorType:
        raise ImportError(OTHER_LAYOUT)
    cdef Py_ssize_t offset = field_offset(<PyObject *>descriptor)
    before, marker = getattr(probe, name), object()
    setattr(probe, name, marker)
    if offset < 0 or field_at(<PyObject *>probe, offset) != <PyObject *>marker:
        raise ImportError(OTHER_LAYOUT)
    setattr(probe, name, before)
    return offset


cdef uint64_t RANDOMNESS_MASK = (<uint64_t>1 << 56) - 1
