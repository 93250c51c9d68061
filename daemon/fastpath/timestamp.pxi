# The time of an event, as milliseconds since 1970: the score of its index entries.
#
# RFC 3339:  2026-11-24T09:51:28[.123456789](Z|+05:30)
#            0    5  8  11 14 17 19
#
# Every field but the fraction has a fixed place, so they are read without a loop. A second of 60 is taken, as RFC 3339
# has leap seconds, and counts as the next minute's first. Time 0001-01-01T00:00:00Z is what Go writes for "not set":
# such an event gets its record's time, as one without a timestamp does.

cdef enum:
    TIME_BAD
    TIME_SET
    TIME_ZERO                     # 0001-01-01T00:00:00Z, Go's "no time"

cdef int64_t ZERO_TIME_MS = -62135596800000


cdef inline int two_digits(const char *text) noexcept nogil:
    """The number of two ASCII digits, or -1."""
    cdef int tens = text[0] - 48, ones = text[1] - 48
    if tens < 0 or tens > 9 or ones < 0 or ones > 9:
        return -1
    return tens * 10 + ones


@cython.cdivision(True)
cdef inline int64_t days_since_epoch(int year, int month, int day) noexcept nogil:
    """Days from 1970-01-01 in the proleptic Gregorian calendar (Hinnant's days_from_civil)."""
    cdef int y = year - 1 if month <= 2 else year
    cdef int era = (y if y >= 0 else y - 399) // 400
    cdef int year_of_era = y - era * 400
    cdef int day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    cdef int day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return <int64_t>era * 146097 + day_of_era - 719468


cdef inline int days_in_month(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if (year % 4 == 0 and year % 100 != 0) or year % 400 == 0 else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


@cython.cdivision(True)
cdef int parse_rfc3339(const char *text, Py_ssize_t size, int64_t *milliseconds) noexcept nogil:
    """Milliseconds since the epoch, rounded down. `milliseconds` is set only for TIME_SET."""
    cdef int century, year, month, day, hour, minute, second, zone_hour, zone_minute
    cdef int fraction_ms = 0, digit_count = 0
    cdef int64_t seconds, result
    cdef Py_ssize_t at = 19
    if size < 20:
        return TIME_BAD
    century, year = two_digits(text), two_digits(text + 2)
    month, day = two_digits(text + 5), two_digits(text + 8)
    hour, minute, second = two_digits(text + 11), two_digits(text + 14), two_digits(text + 17)
    if century < 0 or year < 0 or month < 1 or month > 12 or day < 1:
        return TIME_BAD
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 60:
        return TIME_BAD
    if text[4] != b'-' or text[7] != b'-' or (text[10] | 0x20) != b't' or text[13] != b':' or text[16] != b':':
        return TIME_BAD
    year += century * 100
    if day > days_in_month(year, month):
        return TIME_BAD
    if text[at] == b'.':
        at += 1
        while at < size and 48 <= text[at] <= 57:
            if digit_count < 3:
                fraction_ms = fraction_ms * 10 + text[at] - 48
            digit_count += 1
            at += 1
        if digit_count == 0:
            return TIME_BAD
        while digit_count < 3:
            fraction_ms *= 10
            digit_count += 1
    seconds = days_since_epoch(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
    if size - at == 1:
        if (text[at] | 0x20) != b'z':
            return TIME_BAD
    elif size - at == 6:
        zone_hour, zone_minute = two_digits(text + at + 1), two_digits(text + at + 4)
        if text[at + 3] != b':' or zone_hour < 0 or zone_hour > 23 or zone_minute < 0 or zone_minute > 59:
            return TIME_BAD
        if text[at] == b'+':
            seconds -= zone_hour * 3600 + zone_minute * 60
        elif text[at] == b'-':
            seconds += zone_hour * 3600 + zone_minute * 60
        else:
            return TIME_BAD
    else:
        return TIME_BAD
    result = seconds * 1000 + fraction_ms
    if result == ZERO_TIME_MS:
        return TIME_ZERO
    milliseconds[0] = result
    return TIME_SET
