# Redis replies. Our commands answer with one line each:  +OK\r\n   :<integer>\r\n   -<error>\r\n
#
# Nothing is parsed that nobody asks for: replies are counted, and only errors and the integers that were asked for by
# index (how many a trim took out, how many replicas a WAIT saw) are kept. Which batch a reply belongs to is the sink's
# business, which knows how many it is owed.
#
# Non-obvious: a reply of any other form ends the connection, as what follows could be matched with the wrong commands.
# A bulk string or an array would have lines of its own, and each would count as a reply.

cdef enum:
    # One read from the socket: 64 KiB is over 12,000 replies, more than a full batch's.
    RECEIVE_BYTES = 65536


@cython.final
cdef class ReplyReader:
    """Counts replies and keeps the ones that say something: errors, and the integers that were asked for.

    `reply_count` counts from the last `reset`; `errors` is [(reply index, text)], `integers` is [(reply index, value)].
    Owner of the buffer that the socket is read into: asyncio writes to `free_space()` and says how much by `received`,
    so bytes are not copied on their way. A line that is cut moves to the front and waits for its rest.
    """

    cdef char buffer[RECEIVE_BYTES]
    cdef Py_ssize_t used
    cdef object wanted                    # deque of reply indexes whose integer is kept, ascending
    cdef int64_t next_wanted
    cdef readonly int64_t reply_count
    cdef readonly list errors
    cdef readonly list integers

    def __cinit__(self):
        self.reset()

    def reset(self):
        """For a new connection."""
        self.used = 0
        self.wanted = deque()
        self.next_wanted = -1
        self.reply_count = 0
        self.errors = []
        self.integers = []

    def want(self, int64_t reply_index):
        """Keep the integer of this reply. Ascending."""
        self.wanted.append(reply_index)
        if self.next_wanted < 0:
            self.next_wanted = reply_index

    def take_errors(self):
        errors, self.errors = self.errors, []
        return errors

    def take_integers(self):
        integers, self.integers = self.integers, []
        return integers

    def free_space(self):
        """A writable view of where the next received bytes go. Never empty."""
        return PyMemoryView_FromMemory(self.buffer + self.used, RECEIVE_BYTES - self.used, PyBUF_WRITE)

    def received(self, Py_ssize_t size):
        """`size` bytes were written to `free_space()`: read what is complete."""
        assert 0 <= size <= RECEIVE_BYTES - self.used
        self.used += size
        cdef Py_ssize_t consumed = read_replies(self)
        self.used -= consumed
        memmove(self.buffer, self.buffer + consumed, self.used)
        if self.used == RECEIVE_BYTES:
            raise RedisProtocolError(f"a reply of over {RECEIVE_BYTES} bytes without an end of line")

    def feed(self, bytes data not None):
        """The same for bytes that are at hand."""
        cdef Py_ssize_t done = 0, part
        while done < len(data):
            part = min(len(data) - done, RECEIVE_BYTES - self.used)
            memcpy(self.buffer + self.used, <const char *>data + done, part)
            self.received(part)
            done += part


cdef Py_ssize_t read_replies(ReplyReader reader) except -1:
    """Reads complete lines; gives the bytes used up. A line that is cut stays for the next read."""
    cdef const char *cursor = reader.buffer
    cdef const char *end = reader.buffer + reader.used
    cdef const char *line_end
    cdef int64_t reply_index = reader.reply_count
    while end - cursor >= 4:
        # The two replies that nearly all are: "+OK\r\n" and ":<digit>\r\n".
        if end - cursor >= 5 and memcmp(cursor, b"+OK\r\n", 5) == 0:
            cursor += 5
        elif cursor[0] == b':' and cursor[2] == b'\r' and cursor[3] == b'\n' and reply_index != reader.next_wanted:
            cursor += 4
        else:
            line_end = <const char *>memchr(cursor, b'\n', end - cursor)
            if line_end == NULL:
                break
            reader.reply_count = reply_index
            keep_reply(reader, cursor[:line_end - cursor].removesuffix(b"\r"))
            cursor = line_end + 1
        reply_index += 1
    reader.reply_count = reply_index
    return cursor - reader.buffer


cdef int keep_reply(ReplyReader reader, bytes line) except -1:
    """One reply that is not of the two common forms. `reader.reply_count` is its index."""
    cdef bytes kind = line[:1]
    if kind == b"-":
        reader.errors.append((reader.reply_count, line[1:].decode("utf-8", "replace")))
    elif kind != b"+" and kind != b":":
        raise RedisProtocolError(
            f"reply {reader.reply_count} begins with {line[:16]!r}: no command that was sent is answered so"
        )
    if reader.reply_count == reader.next_wanted:
        reader.wanted.popleft()
        reader.next_wanted = reader.wanted[0] if reader.wanted else -1
        if kind == b":":
            try:
                reader.integers.append((reader.reply_count, int(line[1:])))
            except ValueError:
                raise RedisProtocolError(f"reply {reader.reply_count} is no integer: {line[:16]!r}") from None
    return 0
