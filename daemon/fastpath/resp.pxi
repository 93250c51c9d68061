# Redis commands as bytes (RESP 2). Each writer takes where to write and gives where it ended; the space was reserved
# for the worst case before, by `index_event`.
#
#   SET      *5\r\n$3\r\nSET\r\n$<k>\r\n<key>\r\n$<v>\r\n<value>\r\n$2\r\nEX\r\n$<n>\r\n<seconds>\r\n
#   ZADD     *4\r\n$4\r\nZADD\r\n$<k>\r\n<key>\r\n$<n>\r\n<score>\r\n$<m>\r\n<member>\r\n       *6 with two members
#   EXPIRE   *3\r\n$6\r\nEXPIRE\r\n$<k>\r\n<key>\r\n$<n>\r\n<seconds>\r\n           *4 with $2\r\nNX or GT
#   trim     *4\r\n$15\r\nZREMRANGEBYRANK\r\n$<k>\r\n<key>\r\n$1\r\n0\r\n$<n>\r\n-<rank>\r\n
#
# Each is answered with one line, whatever becomes of it, which is what lets replies be matched by count. Keys are put
# together while they are written: prefix, one or two ids. No key is built as an object, and an id may hold any bytes,
# as lengths are in front.

cdef enum:
    # Everything of one command but its key, value and member: the longest literal is the head of the trim
    # (4 + 22 bytes), and at most five bulk heads and three numbers of up to 24 bytes each surround the texts.
    COMMAND_FRAME_MAX = 256

# A key of up to four parts: prefix, first, ":", second. Its size comes first, as the bulk string's head needs it.
ctypedef struct key_t:
    text_t prefix
    text_t first
    text_t second                 # size 0: the key ends with `first`
    Py_ssize_t size


cdef inline key_t make_key(const char *prefix, text_t first, text_t second) noexcept nogil:
    cdef key_t key
    key.prefix = literal(prefix)
    key.first = first
    key.second = second
    key.size = key.prefix.size + first.size + (1 + second.size if second.size else 0)
    return key


cdef inline char *put(char *at, const char *source, Py_ssize_t size) noexcept nogil:
    memcpy(at, source, size)
    return at + size


@cython.cdivision(True)
cdef inline char *put_number(char *at, int64_t value) noexcept nogil:
    cdef char digits[24]
    cdef int used = 24
    cdef uint64_t rest = <uint64_t>value
    if value < 0:
        at[0] = b'-'
        at += 1
        rest = 0 - rest
    while True:
        used -= 1
        digits[used] = <char>(48 + rest % 10)
        rest //= 10
        if rest == 0:
            break
    return put(at, digits + used, 24 - used)


cdef inline char *put_bulk_head(char *at, Py_ssize_t size) noexcept nogil:
    at[0] = b'$'
    at = put_number(at + 1, size)
    return put(at, b"\r\n", 2)


cdef inline char *put_number_bulk(char *at, int64_t value) noexcept nogil:
    """A number as a bulk string: its length is known only after it is written."""
    cdef char digits[24]
    cdef Py_ssize_t size = put_number(digits, value) - digits
    at = put_bulk_head(at, size)
    at = put(at, digits, size)
    return put(at, b"\r\n", 2)


cdef inline char *put_key(char *at, const key_t *key) noexcept nogil:
    at = put_bulk_head(at, key.size)
    at = put(at, key.prefix.data, key.prefix.size)
    at = put(at, key.first.data, key.first.size)
    if key.second.size:
        at[0] = b':'
        at = put(at + 1, key.second.data, key.second.size)
    return put(at, b"\r\n", 2)


cdef inline char *put_set(char *at, const key_t *key, const char *value, Py_ssize_t size, int64_t ttl_s) noexcept nogil:
    at = put(at, b"*5\r\n$3\r\nSET\r\n", 13)
    at = put_key(at, key)
    at = put_bulk_head(at, size)
    at = put(at, value, size)
    at = put(at, b"\r\n$2\r\nEX\r\n", 10)
    return put_number_bulk(at, ttl_s)


cdef inline char *put_zadd(
    char *at, const key_t *key, int64_t score, const key_t *member, const key_t *second_member
) noexcept nogil:
    at = put(at, b"*4\r\n" if second_member == NULL else b"*6\r\n", 4)
    at = put(at, b"$4\r\nZADD\r\n", 10)
    at = put_key(at, key)
    at = put_number_bulk(at, score)
    at = put_key(at, member)
    if second_member != NULL:
        at = put_number_bulk(at, score)
        at = put_key(at, second_member)
    return at


cdef inline char *put_expire(char *at, const key_t *key, int64_t ttl_s, const char *condition) noexcept nogil:
    """`condition`: NULL, "NX" (only where there is no TTL) or "GT" (only where there is a shorter one)."""
    at = put(at, b"*3\r\n$6\r\nEXPIRE\r\n" if condition == NULL else b"*4\r\n$6\r\nEXPIRE\r\n", 16)
    at = put_key(at, key)
    at = put_number_bulk(at, ttl_s)
    if condition != NULL:
        at = put(at, b"$2\r\n", 4)
        at = put(at, condition, 2)
        at = put(at, b"\r\n", 2)
    return at


cdef inline char *put_trim(char *at, const key_t *key, int64_t members_max) noexcept nogil:
    at = put(at, b"*4\r\n$15\r\nZREMRANGEBYRANK\r\n", 26)
    at = put_key(at, key)
    at = put(at, b"$1\r\n0\r\n", 7)
    return put_number_bulk(at, -(members_max + 1))
