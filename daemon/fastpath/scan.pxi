# The scanner: finds in one event's JSON what routing and indexing need, without a Python object. Texts that it gives
# point into the event's own bytes.
#
# Non-obvious: the scanner never calls an event bad, and takes nothing that msgspec would not.
# It takes the plain case alone and judges nothing: what it does not take, msgspec reads and judges
# (docs/decisions/0006-scanner.md). So all that it takes must be JSON that msgspec takes too, with the same values. Not
# taken, though some of it is good: escapes in a key or in a text that is looked at, surrogates, containers deeper than
# SCAN_DEPTH_MAX, and whatever is outside the grammar of RFC 8259.
#
# How it goes: stops.h looks at a window of 1,024 bytes at once and notes the places of all quotes, backslashes and
# control bytes (docs/decisions/0011-stops.md). A string then is two places of that list; only what is between strings
# is looked at byte by byte. Every reader moves the cursor to just behind what it has read, and what it answers by False
# ends the scan: nobody looks at the cursor after that.

cdef enum:
    # Containers open at once: one bit of a word each says which are objects.
    SCAN_DEPTH_MAX = 64
    QUOTE = 34
    BACKSLASH = 92
    ARRAY_END = 93                # ]
    OBJECT_END = 125              # }

cdef extern from "fastpath/stops.h":
    enum: STOPS_WINDOW, STOPS_GROUP
    ctypedef int (*find_stops_fn)(const uint8_t *data, int size, uint16_t *places, int *high) noexcept nogil
    find_stops_fn choose_find_stops(const char *name) noexcept nogil

cdef find_stops_fn find_stops = choose_find_stops(NULL)

# Where the scanner stands, and the stops of the window that it has looked at: offsets from `window`, ascending. Those
# before `next_stop` were passed.
#
# Non-obvious: whatever moves the cursor past a stop must ask for the next from where it stands.
# Stops are places in the window, and an escaped quote is one too. `stop_from` passes those that lie before the cursor.
ctypedef struct scanner_t:
    const uint8_t *cursor
    const uint8_t *end
    const uint8_t *window
    int window_bytes
    int next_stop
    int stop_count
    int high                      # not 0: a byte that was looked at is not ASCII
    bint escaped                  # the last string had an escape
    uint16_t stops[STOPS_WINDOW + STOPS_GROUP]

# What is found of one event. Texts point into its bytes, or into the Struct's strings when msgspec read it.
ctypedef struct found_t:
    text_t texts[TEXT_COUNT]      # data NULL: absent or null
    text_t labels                 # the object's bytes; data NULL: absent, null, or msgspec read it
    text_t label_correlation      # `correlation_id` of labels, if it is a text
    text_t metadata_correlation
    bint labels_escaped           # a text of `labels` has an escape


cdef inline text_t no_text() noexcept nogil:
    cdef text_t text
    text.data, text.size = NULL, 0
    return text


cdef inline bint same_text(const text_t *text, const char *data, Py_ssize_t size) noexcept nogil:
    return text.size == size and memcmp(text.data, data, size) == 0


cdef inline void skip_space(scanner_t *s) noexcept nogil:
    while s.cursor < s.end and s.cursor[0] <= 32 and (
        s.cursor[0] == 32 or s.cursor[0] == 10 or s.cursor[0] == 13 or s.cursor[0] == 9
    ):
        s.cursor += 1


cdef inline int hex_digit(uint8_t digit) noexcept nogil:
    """Its number, or -1."""
    if 48 <= digit <= 57:
        return digit - 48
    digit |= 0x20
    return digit - 87 if 97 <= digit <= 102 else -1


cdef bint skip_escape(scanner_t *s, const uint8_t **at) noexcept nogil:
    """One escape, from its backslash. Surrogates are left to msgspec. `at` moves only when it is taken."""
    cdef const uint8_t *cursor = at[0]
    cdef int i, digit, unit = 0
    if s.end - cursor < 2:
        return False
    if cursor[1] != b'u':
        if memchr(b'"\\/bfnrt', cursor[1], 8) == NULL:
            return False
        at[0] = cursor + 2
        return True
    if s.end - cursor < 6:
        return False
    for i in range(2, 6):
        digit = hex_digit(cursor[i])
        if digit < 0:
            return False
        unit = unit << 4 | digit
    if 0xD800 <= unit <= 0xDFFF:
        return False
    at[0] = cursor + 6
    return True


cdef void look_at(scanner_t *s, const uint8_t *begin) noexcept nogil:
    """Find the stops of the window that begins there."""
    s.window = begin
    s.window_bytes = STOPS_WINDOW if s.end - begin > STOPS_WINDOW else <int>(s.end - begin)
    s.next_stop = 0
    s.stop_count = find_stops(begin, s.window_bytes, s.stops, &s.high)


cdef inline void begin_scan(scanner_t *s, const char *data, Py_ssize_t size) noexcept nogil:
    s.cursor, s.end = <const uint8_t *>data, <const uint8_t *>data + size
    s.high = 0
    look_at(s, s.cursor)


cdef inline const uint8_t *stop_from(scanner_t *s, const uint8_t *at) noexcept nogil:
    """The first quote, backslash or control byte that is not before `at`. NULL: there is none."""
    cdef const uint8_t *found
    while True:
        while s.next_stop < s.stop_count:
            found = s.window + s.stops[s.next_stop]
            if found >= at:
                return found
            s.next_stop += 1
        if s.end - s.window == s.window_bytes:
            return NULL
        look_at(s, s.window + s.window_bytes)


cdef bint scan_any_string(scanner_t *s, text_t *text) noexcept nogil:
    """A string with escapes, across windows, or behind stops that belong to nothing."""
    cdef const uint8_t *begin = s.cursor + 1
    cdef const uint8_t *at = begin
    s.escaped = False
    while True:
        at = stop_from(s, at)
        if at == NULL:
            return False
        if at[0] == QUOTE:
            text.data, text.size = <const char *>begin, at - begin
            s.cursor = at + 1
            return True
        if at[0] != BACKSLASH or not skip_escape(s, &at):
            return False
        s.escaped = True


cdef inline bint scan_string(scanner_t *s, text_t *text) noexcept nogil:
    """A string, from its opening quote. `text` is what stands between the quotes, escapes as they are."""
    cdef const uint8_t *closing
    # As most are: its two quotes are the next two stops.
    if s.next_stop + 1 < s.stop_count and s.window + s.stops[s.next_stop] == s.cursor:
        closing = s.window + s.stops[s.next_stop + 1]
        if closing[0] == QUOTE:
            text.data, text.size = <const char *>s.cursor + 1, closing - s.cursor - 1
            s.cursor = closing + 1
            s.next_stop += 2
            s.escaped = False
            return True
    return scan_any_string(s, text)


cdef inline const uint8_t *skip_digits(const uint8_t *at, const uint8_t *end) noexcept nogil:
    while at < end and 48 <= at[0] <= 57:
        at += 1
    return at


cdef bint skip_number(scanner_t *s) noexcept nogil:
    """[-] (0 | 1-9 digits) [. digits] [e [+-] digits]"""
    cdef const uint8_t *at = s.cursor
    cdef const uint8_t *begin
    if at < s.end and at[0] == b'-':
        at += 1
    begin = at
    at = skip_digits(at, s.end)
    if at == begin or (begin[0] == b'0' and at - begin > 1):
        return False
    if at < s.end and at[0] == b'.':
        begin = at + 1
        at = skip_digits(begin, s.end)
        if at == begin:
            return False
    if at < s.end and at[0] | 0x20 == b'e':
        at += 1
        if at < s.end and (at[0] == b'+' or at[0] == b'-'):
            at += 1
        begin = at
        at = skip_digits(begin, s.end)
        if at == begin:
            return False
    s.cursor = at
    return True


cdef inline bint skip_word(scanner_t *s, const char *word, Py_ssize_t size) noexcept nogil:
    if s.end - s.cursor < size or memcmp(s.cursor, word, size) != 0:
        return False
    s.cursor += size
    return True


cdef inline bint skip_scalar(scanner_t *s) noexcept nogil:
    """A string, a number, true, false or null."""
    cdef text_t text
    if s.cursor == s.end:
        return False
    if s.cursor[0] == QUOTE:
        return scan_string(s, &text)
    if s.cursor[0] == b't':
        return skip_word(s, b"true", 4)
    if s.cursor[0] == b'f':
        return skip_word(s, b"false", 5)
    if s.cursor[0] == b'n':
        return skip_word(s, b"null", 4)
    return skip_number(s)


cdef inline bint scan_key(scanner_t *s, text_t *key) noexcept nogil:
    """A key and its colon, up to the value.

    Non-obvious: an escape in a key, or in a text that is looked at, is never plain.
    The bytes between the quotes are not the text then: a key with one may be any key.
    """
    skip_space(s)
    if s.cursor == s.end or s.cursor[0] != QUOTE or not scan_string(s, key) or s.escaped:
        return False
    skip_space(s)
    if s.cursor == s.end or s.cursor[0] != b':':
        return False
    s.cursor += 1
    skip_space(s)
    return s.cursor < s.end


cdef inline bint opens_empty(scanner_t *s, uint8_t closing) noexcept nogil:
    """Past the opening bracket. True when the container ends at once, and past that too."""
    s.cursor += 1
    skip_space(s)
    if s.cursor < s.end and s.cursor[0] == closing:
        s.cursor += 1
        return True
    return False


cdef bint skip_value(scanner_t *s) noexcept nogil:
    """Any value, whatever is in it. A container's bit in `objects` says that it is one with keys."""
    cdef uint64_t objects = 0
    cdef int depth = 0
    cdef bint is_object
    cdef text_t key
    while True:
        # One value begins here, or a container whose first value comes next.
        if s.cursor < s.end and (s.cursor[0] == b'{' or s.cursor[0] == b'['):
            is_object = s.cursor[0] == b'{'
            if not opens_empty(s, OBJECT_END if is_object else ARRAY_END):
                if depth == SCAN_DEPTH_MAX:
                    return False
                objects = objects << 1 | is_object
                depth += 1
                if is_object and not scan_key(s, &key):
                    return False
                continue
        elif not skip_scalar(s):
            return False
        # A value has ended: so may containers.
        while True:
            if depth == 0:
                return True
            skip_space(s)
            if s.cursor == s.end:
                return False
            if s.cursor[0] == b',':
                s.cursor += 1
                skip_space(s)
                if objects & 1 and not scan_key(s, &key):
                    return False
                break
            if s.cursor[0] != (OBJECT_END if objects & 1 else ARRAY_END):
                return False
            s.cursor += 1
            depth -= 1
            objects >>= 1


cdef inline int next_pair(scanner_t *s) noexcept nogil:
    """Behind a value of an object: 1 past a comma, 0 past the closing brace, -1 for anything else."""
    skip_space(s)
    if s.cursor == s.end:
        return -1
    s.cursor += 1
    return 1 if s.cursor[-1] == b',' else 0 if s.cursor[-1] == b'}' else -1


cdef bint scan_carrier(scanner_t *s, text_t *correlation, bint *escaped) noexcept nogil:
    """labels or metadata, from its brace: an object of which the correlation id is looked at. The last one counts."""
    cdef text_t key, value
    cdef int more
    correlation[0] = no_text()
    escaped[0] = False
    if opens_empty(s, OBJECT_END):
        return True
    while True:
        if not scan_key(s, &key):
            return False
        if s.cursor[0] == QUOTE:
            if not scan_string(s, &value):
                return False
            escaped[0] |= s.escaped
        else:
            value = no_text()
            if not skip_value(s):
                return False
        if same_text(&key, b"correlation_id", 14):
            if value.data != NULL and s.escaped:
                return False
            correlation[0] = value
        more = next_pair(s)
        if more <= 0:
            return more == 0


cdef inline int field_of(const text_t *key) noexcept nogil:
    """Which of EVENT_FIELDS a key names, or -1. By length first, so that most keys cost one comparison."""
    if key.size == 2:
        return ID if same_text(key, b"id", 2) else -1
    if key.size == 4:
        return TYPE if same_text(key, b"type", 4) else -1
    if key.size == 5:
        return LEVEL if same_text(key, b"level", 5) else -1
    if key.size == 6:
        return LABELS if same_text(key, b"labels", 6) else -1
    if key.size == 7:
        if same_text(key, b"service", 7):
            return SERVICE
        if same_text(key, b"message", 7):
            return MESSAGE
        return SPAN_ID if same_text(key, b"span_id", 7) else -1
    if key.size == 8:
        if same_text(key, b"metadata", 8):
            return METADATA
        return TRACE_ID if same_text(key, b"trace_id", 8) else -1
    if key.size == 9:
        if same_text(key, b"timestamp", 9):
            return TIMESTAMP
        return COMPONENT if same_text(key, b"component", 9) else -1
    if key.size == 14:
        return CORRELATION_ID if same_text(key, b"correlation_id", 14) else -1
    return -1


cdef inline bint scan_text_field(scanner_t *s, int field, found_t *found) noexcept nogil:
    """The value of a field that must be a string or null. Of the message only that is looked at."""
    if s.cursor[0] == QUOTE:
        return scan_string(s, &found.texts[field]) and (field == MESSAGE or not s.escaped)
    found.texts[field] = no_text()
    return skip_word(s, b"null", 4)


cdef inline bint scan_object_field(scanner_t *s, int field, found_t *found) noexcept nogil:
    """labels or metadata, which must be an object or null."""
    cdef const uint8_t *begin = s.cursor
    cdef text_t *correlation = &found.label_correlation if field == LABELS else &found.metadata_correlation
    cdef bint escaped = False
    correlation[0] = no_text()
    if s.cursor[0] == b'{':
        if not scan_carrier(s, correlation, &escaped):
            return False
    elif not skip_word(s, b"null", 4):
        return False
    if field == LABELS:
        found.labels = no_text()
        if begin[0] == b'{':
            found.labels.data, found.labels.size = <const char *>begin, s.cursor - begin
        found.labels_escaped = escaped
    return True


cdef void clear_found(found_t *found) noexcept nogil:
    memset(found, 0, sizeof(found_t))


cdef bint scan_event(const char *data, Py_ssize_t size, found_t *found, bint *is_ascii) noexcept nogil:
    """Reads one event. False: not the plain case, and `found` means nothing. `is_ascii` False: the bytes are still to
    be checked for UTF-8.

    Non-obvious: a field that stands twice counts the last time, in both ways of reading.
    So a later `null` takes an earlier text away, and `labels` that stand twice replace each other.
    """
    cdef scanner_t s
    cdef text_t key
    cdef int field, more
    cdef bint taken
    begin_scan(&s, data, size)
    clear_found(found)
    skip_space(&s)
    if s.cursor == s.end or s.cursor[0] != b'{':
        return False
    if not opens_empty(&s, OBJECT_END):
        while True:
            if not scan_key(&s, &key):
                return False
            field = field_of(&key)
            if field < 0:
                taken = skip_value(&s)
            elif field < TEXT_COUNT:
                taken = scan_text_field(&s, field, found)
            else:
                taken = scan_object_field(&s, field, found)
            if not taken:
                return False
            more = next_pair(&s)
            if more < 0:
                return False
            if more == 0:
                break
    skip_space(&s)
    is_ascii[0] = s.high == 0
    return s.cursor == s.end


cdef bint find_label(text_t labels, const text_t *wanted, text_t *value) noexcept nogil:
    """The text of one label, of an object that was scanned before and holds no escapes. False: absent, or no text."""
    cdef scanner_t s
    cdef text_t key, text
    begin_scan(&s, labels.data, labels.size)
    value[0] = no_text()
    if opens_empty(&s, OBJECT_END):
        return False
    while scan_key(&s, &key):
        text = no_text()
        if not (scan_string(&s, &text) if s.cursor[0] == QUOTE else skip_value(&s)):
            break
        if same_text(&key, wanted.data, wanted.size):
            value[0] = text
        if next_pair(&s) != 1:
            break
    return value.data != NULL


def read_plain(bytes payload not None):
    """{field: bytes} of an event that the scanner takes, or None where msgspec has to read it. For tests."""
    cdef found_t found
    cdef bint is_ascii
    cdef int i
    if not scan_event(payload, len(payload), &found, &is_ascii):
        return None
    return {
        name: found.texts[i].data[:found.texts[i].size]
        for i, name in enumerate(STRING_FIELDS) if found.texts[i].data != NULL
    }


def stops_of(str way not None, bytes data not None):
    """([place], whether all is ASCII) of at most STOPS_WINDOW bytes; None on a processor without this way. For tests.

    way: `plain`, `sse2` or `avx2`.
    """
    cdef uint16_t places[STOPS_WINDOW + STOPS_GROUP]
    cdef int high = 0, count, i
    cdef find_stops_fn find = choose_find_stops(way.encode())
    if find == NULL:
        return None
    assert len(data) <= STOPS_WINDOW
    count = find(data, <int>len(data), places, &high)
    return [places[i] for i in range(count)], high == 0
