# The sends of a batch in the order of their output partitions: what a produce request takes together lies together.
#
# librdkafka's thread walks the records of one partition at a time. In the order of the source they lie as far apart as
# there are output partitions, and every look at one is a cache miss (decision 0010). Nothing rests on it: librdkafka
# places each record itself, and records of one key stay in their order.

cdef enum:
    # Groups of one batch; beyond, neighbours share one. Clearing their counts takes 2 µs.
    GROUPS_MAX = 4096


cdef inline uint32_t murmur2(const char *data, size_t size) noexcept nogil:
    """The hash of the Java client's partitioner, as librdkafka's `murmur2_random` has it. Cannot fail.

    A hash that differed from librdkafka's would cost speed and nothing else: librdkafka computes its own.
    """
    cdef uint32_t factor = 0x5BD1E995, word
    cdef uint32_t found = <uint32_t>0x9747B28C ^ <uint32_t>size
    cdef const unsigned char *at = <const unsigned char *>data
    while size >= 4:
        memcpy(&word, at, 4)
        word *= factor
        word ^= word >> 24
        found = found * factor ^ word * factor
        at += 4
        size -= 4
    if size == 3:
        found ^= <uint32_t>at[2] << 16
    if size >= 2:
        found ^= <uint32_t>at[1] << 8
    if size >= 1:
        found = (found ^ at[0]) * factor
    found ^= found >> 13
    found *= factor
    return found ^ found >> 15


cdef inline uint32_t partition_of(const batch_t *b, const send_t *send, uint32_t partition_count) noexcept nogil:
    """Where librdkafka will place it; 0 for what has no key or a topic of which nothing is known yet.

    Cannot fail. The count is what reports have named so far, so the first batches are grouped badly, and no worse.
    """
    if not send.key_bytes or partition_count < 2:
        return 0
    return (murmur2(b.keys + send.key_offset, send.key_bytes) & 0x7FFFFFFF) % partition_count


cdef int group_sends(batch_t *b, const int32_t *partition_counts, Py_ssize_t topic_count) except -1:
    """Order the sends by topic and partition, those of one partition as they were. None of them was enqueued yet.

    partition_counts: by topic index, as far as they are known. Raises MemoryError, and then nothing has moved. A
    counting sort, in two passes over the sends, as there are few groups and the order within each must stay.
    """
    cdef uint32_t starts[GROUPS_MAX + 1]
    cdef uint32_t group, group_count = 0
    cdef Py_ssize_t i
    cdef uint32_t *first_groups = <uint32_t *>malloc(topic_count * sizeof(uint32_t))
    cdef uint32_t *groups = <uint32_t *>malloc(b.send_count * sizeof(uint32_t))
    cdef send_t *ungrouped = <send_t *>malloc(b.send_count * sizeof(send_t))
    if first_groups == NULL or groups == NULL or ungrouped == NULL:
        free(first_groups)
        free(groups)
        free(ungrouped)
        raise MemoryError()
    # Each topic gets as many groups in a row as it has partitions.
    for i in range(topic_count):
        first_groups[i] = group_count
        group_count += partition_counts[i] if partition_counts[i] > 1 else 1
    memset(starts, 0, sizeof(starts))
    for i in range(b.send_count):
        group = first_groups[b.sends[i].topic_index]
        group += partition_of(b, &b.sends[i], partition_counts[b.sends[i].topic_index])
        groups[i] = group % GROUPS_MAX
        starts[groups[i] + 1] += 1
    # From counts to the place where each group begins; placing a send moves its group's place on by one.
    for i in range(GROUPS_MAX):
        starts[i + 1] += starts[i]
    memcpy(ungrouped, b.sends, b.send_count * sizeof(send_t))
    for i in range(b.send_count):
        b.sends[starts[groups[i]]] = ungrouped[i]
        starts[groups[i]] += 1
    free(first_groups)
    free(groups)
    free(ungrouped)
    return 0
