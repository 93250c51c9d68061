# Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
#
#   00..7F                         one byte
#   C2..DF 80..BF                  two:   C0 and C1 would be overlong
#   E0     A0..BF 80..BF           three: E0 with less would be overlong, ED with more a surrogate
#   E1..EF 80..BF 80..BF
#   F0     90..BF 80..BF 80..BF    four:  F0 with less would be overlong, F4 with more above U+10FFFF
#   F1..F4 80..BF 80..BF 80..BF
#
# It is asked of whole values that the scanner did not take or that are not ASCII; the scanner says which are.

cdef bint is_utf8(const uint8_t *cursor, const uint8_t *end) noexcept nogil:
    """True when all bytes from `cursor` to `end` are UTF-8. ASCII is skipped 32 bytes at a time."""
    cdef uint64_t words[4]
    cdef uint8_t lead, low, high
    cdef int tail_bytes
    while cursor < end:
        if end - cursor >= 32:
            memcpy(words, cursor, 32)
            if ((words[0] | words[1] | words[2] | words[3]) & <uint64_t>0x8080808080808080) == 0:
                cursor += 32
                continue
        lead = cursor[0]
        if lead < 0x80:
            cursor += 1
            continue
        # The second byte's range is what rules out overlong forms, surrogates and > U+10FFFF.
        low, high = 0x80, 0xBF
        if 0xC2 <= lead <= 0xDF:
            tail_bytes = 1
        elif 0xE0 <= lead <= 0xEF:
            tail_bytes = 2
            if lead == 0xE0:
                low = 0xA0
            elif lead == 0xED:
                high = 0x9F
        elif 0xF0 <= lead <= 0xF4:
            tail_bytes = 3
            if lead == 0xF0:
                low = 0x90
            elif lead == 0xF4:
                high = 0x8F
        else:
            return False
        if end - cursor <= tail_bytes or cursor[1] < low or cursor[1] > high:
            return False
        if tail_bytes > 1 and (cursor[2] & 0xC0) != 0x80:
            return False
        if tail_bytes > 2 and (cursor[3] & 0xC0) != 0x80:
            return False
        cursor += tail_bytes + 1
    return True


cdef bint is_header_id(const char *value, size_t size) noexcept nogil:
    """Whether a header's value can be a correlation id: the look-ups are done with text, so it must be UTF-8."""
    return size > 0 and is_utf8(<const uint8_t *>value, <const uint8_t *>value + size)
