# Growing the arrays of a batch. Nothing here runs while a pointer into them is lent out.
#
# The house rule of all writers: reserve for the worst case once, then write without a check. So no writer can fail half
# way, and a command or a send is whole or not there. The arrays are kept from batch to batch and grow to what the
# largest needed (Batch.release gives an oversized RESP buffer back). PyMem_Raw is malloc, which allocator.py tells to
# keep what was freed; the debugging allocators of Python still see it.

cdef extern from "Python.h":
    void *PyMem_RawRealloc(void *memory, size_t size) noexcept
    void PyMem_RawFree(void *memory) noexcept


cdef int grow(void **memory, Py_ssize_t *capacity, Py_ssize_t wanted, size_t item_bytes) except -1:
    """Make room for `wanted` items, at least doubling, so that the cost per item stays flat."""
    cdef Py_ssize_t size = capacity[0] * 2 if capacity[0] * 2 > wanted else wanted
    cdef void *moved = PyMem_RawRealloc(memory[0], <size_t>size * item_bytes)
    if moved == NULL:
        raise MemoryError()
    memory[0] = moved
    capacity[0] = size
    return 0


cdef inline int reserve_sends(batch_t *b, Py_ssize_t extra) except -1:
    if b.send_count + extra > b.send_capacity:
        grow(<void **>&b.sends, &b.send_capacity, b.send_count + extra, sizeof(send_t))
    return 0


cdef inline int reserve_keys(batch_t *b, Py_ssize_t extra) except -1:
    if b.key_used + extra > b.key_capacity:
        grow(<void **>&b.keys, &b.key_capacity, b.key_used + extra, 1)
    return 0


cdef inline int reserve_resp(batch_t *b, Py_ssize_t extra) except -1:
    if b.resp_used + extra > b.resp_capacity:
        grow(<void **>&b.resp, &b.resp_capacity, b.resp_used + extra, 1)
    return 0
