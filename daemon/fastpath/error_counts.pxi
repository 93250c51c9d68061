# Which services report errors: error and fatal logs, counted by service in a table of fixed size. Touched by such
# events alone.
#
# Names come from events, so anybody can invent them: the table never grows, a name is never taken out, and what does
# not fit counts as `other`. A label of a metric that could take any value would fill Prometheus.

cdef enum:
    ERROR_SERVICES_MAX = 256      # services with a count of their own; metrics.METRICS names it
    ERROR_SLOT_COUNT = 512        # half of them stay free, so that a search ends soon
    ERROR_NAME_BYTES_MAX = 104    # a longer name counts as other; with it a slot is two cache lines

# One service. `taken` False: free.
ctypedef struct error_slot_t:
    uint64_t counts[2]            # error, fatal
    uint16_t size
    bint taken
    char name[ERROR_NAME_BYTES_MAX]


@cython.final
cdef class ErrorCounts:
    """Error and fatal logs by service since the start. Outlives reloads: the engine owns it."""

    cdef error_slot_t *slots
    cdef Py_ssize_t service_count
    cdef uint64_t[2] others

    def __cinit__(self):
        self.slots = <error_slot_t *>calloc(ERROR_SLOT_COUNT, sizeof(error_slot_t))
        if self.slots == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.slots)

    def rows(self):
        """[(service, level, count)]: what is not zero; "" is the events that name no service."""
        cdef Py_ssize_t i
        cdef int which
        result = []
        for i in range(ERROR_SLOT_COUNT):
            if self.slots[i].taken:
                service = self.slots[i].name[:self.slots[i].size].decode("utf-8", "replace")
                for which in range(2):
                    if self.slots[i].counts[which]:
                        result.append((service, "fatal" if which else "error", self.slots[i].counts[which]))
        for which in range(2):
            if self.others[which]:
                result.append(("other", "fatal" if which else "error", self.others[which]))
        return result


cdef void count_error(ErrorCounts counts, text_t service, int which) noexcept:
    """`which`: 0 error, 1 fatal."""
    cdef uint64_t at
    cdef error_slot_t *slot
    if service.data == NULL:
        service.data = b""
    if service.size > ERROR_NAME_BYTES_MAX:
        counts.others[which] += 1
        return
    at = hash_bytes(<uint64_t>service.size, service.data, service.size) & (ERROR_SLOT_COUNT - 1)
    while counts.slots[at].taken:
        slot = &counts.slots[at]
        if slot.size == service.size and memcmp(slot.name, service.data, service.size) == 0:
            slot.counts[which] += 1
            return
        at = (at + 1) & (ERROR_SLOT_COUNT - 1)
    if counts.service_count == ERROR_SERVICES_MAX:
        counts.others[which] += 1
        return
    slot = &counts.slots[at]
    slot.taken = True
    slot.size = <uint16_t>service.size
    memcpy(slot.name, service.data, service.size)
    slot.counts[which] = 1
    counts.service_count += 1
