# Sets of texts that a rule names: found by bytes, so that no Python string is made to ask.
#
# Open addressing with a step of one, at most half full, so that a search for what is not there soon meets a free slot.
# Made once a reload, then only read. The slots belong to the set, the bytes in them to RouteTable.kept.

ctypedef struct text_set_t:
    text_t *slots                 # open addressing, at most half full; data NULL: free. NULL: any text will do
    uint64_t mask


cdef bint set_has(const text_set_t *texts, const text_t *text) noexcept nogil:
    """Whether a text is in the set. An absent one (data NULL) is in none."""
    cdef uint64_t at
    if text.data == NULL:
        return False
    at = hash_bytes(<uint64_t>text.size, text.data, text.size)
    while True:
        at &= texts.mask
        if texts.slots[at].data == NULL:
            return False
        if same_text(&texts.slots[at], text.data, text.size):
            return True
        at += 1


cdef int make_set(text_set_t *texts, list encoded) except -1:
    """Fill an empty set from bytes objects, which the caller keeps alive. Freed by `free(texts.slots)`."""
    cdef uint64_t at, slot_count = 2
    cdef bytes value
    while slot_count < <uint64_t>(2 * len(encoded)):
        slot_count *= 2
    texts.slots = <text_t *>calloc(slot_count, sizeof(text_t))
    if texts.slots == NULL:
        raise MemoryError()
    texts.mask = slot_count - 1
    for value in encoded:
        at = hash_bytes(<uint64_t>len(value), value, len(value)) & texts.mask
        while texts.slots[at].data != NULL:
            at = (at + 1) & texts.mask
        texts.slots[at] = as_text(value)
    return 0
