# Which index keys had their TTL set lately, so that EXPIRE is sent at most once an hour for a key.
#
# An index (`correlation_index:<id>`, `trace_index:<id>`) is a sorted set of keys of events. Its TTL is that of its
# longest-lived member and a margin of an hour. An EXPIRE behind every ZADD would be one command more for each index of
# each event; so what was sent is remembered, and sent again when an hour has passed or when a longer TTL is wanted.
#
# Direct-mapped: one slot by the hash's low bits, no search, no eviction list. 65,536 slots of 24 bytes (1.5 MiB) never
# grow. Two keys that share a slot push each other out, which costs an EXPIRE more each time and is never wrong: a slot
# without the key means "nothing is known". Cleared at each connect, as Redis may have lost what it was sent, and at a
# reload, which may change the times to live.

ctypedef struct index_slot_t:
    uint64_t hash                 # 0: free
    uint32_t refreshed_s
    uint32_t ttl_s
    uint32_t adds                 # ZADDs since the last trim
    uint32_t unused               # fills the slot up to three words


if sizeof(index_slot_t) != 24:
    raise ImportError("index_slot_t must be 24 bytes: the cache's memory is budgeted by it")


cdef inline uint64_t hash_bytes(uint64_t hash, const char *data, Py_ssize_t size) noexcept nogil:
    """Multiply-and-fold over 8 bytes at a time. Not for hostile input: a collision costs one EXPIRE more."""
    # Non-obvious: the cache knows keys by hash alone, so the hash begins with the length and a tail carries its own.
    # A tail of less than 8 bytes was once hashed as a full word, and two keys counted as one.
    cdef uint64_t word
    while size >= 8:
        memcpy(&word, data, 8)
        hash = (hash ^ word) * <uint64_t>0x9E3779B97F4A7C15
        hash ^= hash >> 32
        data += 8
        size -= 8
    if size:
        word = <uint64_t>size << 56
        memcpy(&word, data, size)
        hash = (hash ^ word) * <uint64_t>0x9E3779B97F4A7C15
        hash ^= hash >> 32
    return hash


cdef inline uint64_t hash_text_key(const char *prefix, Py_ssize_t prefix_size, text_t text) noexcept nogil:
    cdef uint64_t hash = hash_bytes(<uint64_t>prefix_size | <uint64_t>text.size << 32, prefix, prefix_size)
    hash = hash_bytes(hash, text.data, text.size)
    return hash if hash else 1


@cython.final
cdef class IndexCache:
    """Direct-mapped and of fixed size. A key that was pushed out is refreshed again.

    compares_ttls: the server knows EXPIRE's NX and GT (Redis 7).

    Non-obvious: a plain EXPIRE shortens, so it is sent with NX and GT where the server knows them.
    A key that fell out of the cache and came back with a shorter class cut its index from 7 days to 25 hours: it was
    deleted before its members. NX sets one where none is, GT only lengthens; together they never shorten
    (docs/decisions/0005-index-ttl.md).
    """

    cdef public bint compares_ttls
    cdef index_slot_t *slots
    cdef uint64_t mask
    cdef uint64_t random

    def __cinit__(self, Py_ssize_t slot_count=65536):
        if slot_count < 1 or slot_count & (slot_count - 1):
            raise ValueError(f"slot_count must be a power of two, not {slot_count}")
        self.slots = <index_slot_t *>calloc(slot_count, sizeof(index_slot_t))
        if self.slots == NULL:
            raise MemoryError()
        self.mask = <uint64_t>slot_count - 1
        self.random = <uint64_t>0x2545F4914F6CDD1D

    def __dealloc__(self):
        free(self.slots)

    def clear(self):
        """Forget everything: after a reconnect Redis may not have what was sent before."""
        memset(self.slots, 0, (self.mask + 1) * sizeof(index_slot_t))


cdef inline uint32_t next_random(IndexCache cache) noexcept nogil:
    cache.random ^= cache.random << 13
    cache.random ^= cache.random >> 7
    cache.random ^= cache.random << 17
    return <uint32_t>(cache.random >> 32)


cdef enum:                        # what expire_due found
    TTL_FRESH                     # nothing to do
    TTL_UNKNOWN                   # the key may have no TTL, or any
    TTL_SHORTER                   # the key has a TTL, which may be shorter


@cython.cdivision(True)
cdef inline int expire_due(
    IndexCache cache, uint64_t hash, uint32_t wanted_s, uint32_t now_s, uint32_t trim_step, uint32_t *ttl_s, bint *trim
) noexcept nogil:
    """Whether a TTL is due, and which. Sets `trim` when it is the turn of a ZREMRANGEBYRANK.

    Non-obvious: a slot that is claimed starts its count of ZADDs at random, not from 0.
    Two busy keys that share it lose their count again and again, and would never be trimmed; so each is trimmed all the
    same, every `trim_step` ZADDs on average.
    """
    cdef index_slot_t *slot = &cache.slots[hash & cache.mask]
    cdef int due = TTL_FRESH
    cdef bint is_old
    if slot.hash != hash:
        slot.hash = hash
        slot.ttl_s = wanted_s
        slot.refreshed_s = now_s
        slot.adds = next_random(cache) % trim_step if trim_step else 0
        due = TTL_UNKNOWN
    else:
        # Non-obvious: a TTL is refreshed within its margin of an hour, whatever the TTL itself is.
        # By then the index has just as long as its members, as its TTL is theirs and this margin. Refreshed at a
        # quarter of the TTL, it was deleted before its last members.
        is_old = now_s - slot.refreshed_s >= INDEX_TTL_MARGIN_S
        if is_old or wanted_s > slot.ttl_s:
            # Non-obvious: an index may expire between two refreshes, and ZADD recreates it without a TTL.
            # So after an hour its TTL counts as unknown, which sends NX as well.
            due = TTL_UNKNOWN if is_old else TTL_SHORTER
            slot.refreshed_s = now_s
            if wanted_s > slot.ttl_s:
                slot.ttl_s = wanted_s
    ttl_s[0] = slot.ttl_s
    if trim_step:
        slot.adds += 1
        if slot.adds >= trim_step:
            slot.adds = 0
            trim[0] = True
    return due


def hash_key(bytes key not None):
    """The cache's hash of an index key, as a test needs it to find two that share a slot."""
    for prefix in (CORRELATION_INDEX, TRACE_INDEX):
        if key.startswith(prefix):
            return hash_text_key(prefix, len(prefix), as_text(key[len(prefix):]))
    raise ValueError("not an index key")


cdef bytes CORRELATION_INDEX = b"correlation_index:"
cdef bytes TRACE_INDEX = b"trace_index:"
