"""Redis replies: however the bytes are cut, the same replies are counted and the same errors kept."""

import random

import pytest

from ingestd._fastpath import ReplyReader
from ingestd.errors import RedisProtocolError

REPLIES = (
    b"+OK\r\n",
    b":1\r\n",
    b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    b":0\r\n",
    b":12345\r\n",
    b"+OK\r\n",
    b"-ERR caf\xc3\xa9 \xff\r\n",
    b":7\r\n",
    b"+QUEUED\r\n",
    b":-3\r\n",
    b"+OK\r\n",
)
ERRORS = [(2, "OOM command not allowed when used memory > 'maxmemory'."), (6, "ERR café \ufffd")]
WANTED = (1, 4, 6, 9)
INTEGERS = [(1, 1), (4, 12345), (9, -3)]
STREAM = b"".join(REPLIES)


def reader_of(*parts: bytes, wanted: tuple[int, ...] = ()) -> ReplyReader:
    reader = ReplyReader()
    for reply_index in wanted:
        reader.want(reply_index)
    for part in parts:
        reader.feed(part)
    return reader


def test_replies_are_counted_and_errors_have_their_index():
    reader = reader_of(STREAM)
    assert reader.reply_count == len(REPLIES) and reader.errors == ERRORS and reader.integers == []


def test_integers_are_kept_only_where_they_are_wanted():
    assert reader_of(STREAM, wanted=WANTED).integers == INTEGERS


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_a_cut_at_any_byte_changes_nothing(cut: int):
    reader = reader_of(STREAM[:cut], STREAM[cut:], wanted=WANTED)
    assert (reader.reply_count, reader.errors, reader.integers) == (len(REPLIES), ERRORS, INTEGERS)


def test_bytes_that_come_one_at_a_time_change_nothing():
    reader = reader_of(*(STREAM[i : i + 1] for i in range(len(STREAM))), wanted=WANTED)
    assert (reader.reply_count, reader.errors, reader.integers) == (len(REPLIES), ERRORS, INTEGERS)


@pytest.mark.parametrize("cut", range(len(STREAM)))
def test_a_reply_counts_only_when_its_last_byte_is_there(cut: int):
    assert reader_of(STREAM[:cut]).reply_count == sum(
        1 for i in range(len(REPLIES)) if len(b"".join(REPLIES[: i + 1])) <= cut
    )


def test_random_replies_cut_at_random_places_are_all_counted(seed: int):
    chance = random.Random(seed)
    replies = [chance.choice(REPLIES) for _ in range(40_000)]
    stream, reader, at = b"".join(replies), ReplyReader(), 0
    # The command whose number is wanted is never answered with +OK.
    wanted = [i for i in range(0, len(replies), 7) if replies[i] != b"+OK\r\n"]
    for reply_index in wanted:
        reader.want(reply_index)
    while at < len(stream):
        size = chance.choice((1, 3, 4, 5, 100, 4096, 65536, 200_000))
        reader.feed(stream[at : at + size])
        at += size
    assert reader.reply_count == len(replies)
    assert [i for i, _ in reader.errors] == [i for i, reply in enumerate(replies) if reply[:1] == b"-"]
    assert reader.integers == [(i, int(replies[i][1:])) for i in wanted if replies[i][:1] == b":"]


def test_what_a_socket_writes_into_the_free_space_is_read():
    reader = ReplyReader()
    for part in (STREAM[:30], STREAM[30:]):
        reader.free_space()[: len(part)] = part
        reader.received(len(part))
    assert reader.reply_count == len(REPLIES) and len(reader.free_space()) == 65536


def test_taken_errors_and_integers_are_given_once():
    reader = reader_of(STREAM, wanted=WANTED)
    assert reader.take_errors() == ERRORS and reader.take_integers() == INTEGERS
    assert reader.take_errors() == [] and reader.take_integers() == []
    reader.feed(b"-LATER\r\n")
    assert reader.take_errors() == [(len(REPLIES), "LATER")]


def test_a_new_connection_forgets_half_a_reply_and_what_was_wanted():
    reader = reader_of(b":1\r\n-ERR ha", wanted=(0, 5))
    reader.reset()
    reader.feed(b":1\r\n:2\r\n")
    assert (reader.reply_count, reader.errors, reader.integers) == (2, [], [])


# Not one of our commands answers so: replies and commands are out of step, and every later count would be wrong.
@pytest.mark.parametrize(
    "reply",
    [
        b"$-1\r\n",
        b"$2\r\nhi\r\n",
        b"*0\r\n",
        b"*2\r\n:1\r\n:2\r\n",
        b"_\r\n\r\n",
        b"#t\r\n",
        b">2\r\n+a\r\n",
        b"%1\r\n+a\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x15\x03\x01\x00\x02\x02\n",
        b"\r\n\r\n",
        b"\n\n\n\n",
        b"\0\0\0\n",
    ],
)
def test_a_reply_of_another_kind_is_an_error_of_the_protocol(reply: bytes):
    reader = ReplyReader()
    reader.feed(b"+OK\r\n")
    with pytest.raises(RedisProtocolError):
        reader.feed(reply)


def test_an_integer_that_is_wanted_and_none_is_an_error_of_the_protocol():
    with pytest.raises(RedisProtocolError):
        reader_of(b":abc\r\n", wanted=(0,))


def test_a_reply_without_an_end_does_not_grow_for_ever():
    with pytest.raises(RedisProtocolError, match="without an end of line"):
        reader_of(b"-ERR " + b"x" * 70_000)


def test_an_error_text_may_fill_nearly_the_whole_buffer():
    text = "E" * 65_000
    assert reader_of(b"-" + text.encode() + b"\r\n").errors == [(0, text)]
