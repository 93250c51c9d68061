# What every new event of a program gets, as text: an id and a time. For the client library, which publishes many.
#
# The texts are ASCII and of a known length, so a string is made at once in its final form and filled in place. uuid and
# datetime make several objects on the way.

cdef enum:
    UUID_BYTES = 16
    UUID_TEXT = 36
    DAY_S = 86400
    TIME_TEXT_MAX = 30            # `2026-11-24T09:01:01.123456789Z`

cdef const char *HEX_DIGITS = b"0123456789abcdef"

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, uint32_t highest)
    void *PyUnicode_DATA(object text) noexcept


def uuid4_texts(bytes drawn not None):
    """A UUIDv4 (RFC 9562, section 5.4) as a text of 36 characters for each 16 random bytes."""
    cdef const unsigned char *source = drawn
    cdef char *at
    cdef unsigned char byte
    cdef Py_ssize_t i, k
    made = []
    for i in range(0, len(drawn) - UUID_BYTES + 1, UUID_BYTES):
        text = PyUnicode_New(UUID_TEXT, 127)
        at = <char *>PyUnicode_DATA(text)
        for k in range(UUID_BYTES):
            byte = source[i + k]
            if k == 6:
                byte = byte & 0x0F | 0x40
            elif k == 8:
                byte = byte & 0x3F | 0x80
            if k == 4 or k == 6 or k == 8 or k == 10:
                at[0] = b'-'
                at += 1
            at[0], at[1] = HEX_DIGITS[byte >> 4], HEX_DIGITS[byte & 15]
            at += 2
        made.append(text)
    return made


cdef inline char *put_digits(char *at, int64_t number, int count) noexcept nogil:
    """So many digits, with zeros in front."""
    cdef int i
    for i in range(count - 1, -1, -1):
        at[i] = <char>(48 + number % 10)
        number //= 10
    return at + count


def utc_text(int64_t time_ns):
    """RFC 3339 in UTC of nanoseconds since the epoch, not before it; trailing zeros of the fraction are left out, as in
    Go's RFC3339Nano."""
    cdef char[TIME_TEXT_MAX] text
    cdef char *at = text
    cdef int64_t seconds = time_ns // 1_000_000_000, fraction = time_ns % 1_000_000_000, days, era_day, era_year
    cdef int64_t year, month, of_year
    if time_ns < 0:
        raise ValueError(f"{time_ns} ns is before 1970")
    # Days since 0000-03-01 to a date, by Howard Hinnant's `civil_from_days`: years begin in March, so that the day that
    # comes and goes is the last.
    days = seconds // DAY_S + 719468
    era_day = days % 146097
    era_year = (era_day - era_day // 1460 + era_day // 36524 - era_day // 146096) // 365
    of_year = era_day - (365 * era_year + era_year // 4 - era_year // 100)
    month = (5 * of_year + 2) // 153
    year = days // 146097 * 400 + era_year + (1 if month >= 10 else 0)
    at = put_digits(at, year, 4)
    at[0] = b'-'
    at = put_digits(at + 1, month + 3 if month < 10 else month - 9, 2)
    at[0] = b'-'
    at = put_digits(at + 1, of_year - (153 * month + 2) // 5 + 1, 2)
    at[0] = b'T'
    at = put_digits(at + 1, seconds % DAY_S // 3600, 2)
    at[0] = b':'
    at = put_digits(at + 1, seconds % 3600 // 60, 2)
    at[0] = b':'
    at = put_digits(at + 1, seconds % 60, 2)
    if fraction:
        at[0] = b'.'
        at = put_digits(at + 1, fraction, 9)
        while at[-1] == b'0':
            at -= 1
    at[0] = b'Z'
    return text[:at + 1 - text].decode("ascii")
