"""Redis commands, read back. RESP bytes in, tuples of words out; anything but whole commands is an error."""

Command = tuple[bytes, ...]


def commands(data: bytes) -> list[Command]:
    """Every command of `data`. Strict: what is cut, or longer than it says, raises ValueError."""
    found, at = [], 0
    while at < len(data):
        count, at = _number(data, at, b"*")
        words = []
        for _ in range(count):
            size, at = _number(data, at, b"$")
            if data[at + size : at + size + 2] != b"\r\n":
                raise ValueError(f"a word of {size} bytes at {at} does not end there")
            words.append(data[at : at + size])
            at += size + 2
        found.append(tuple(words))
    return found


def _number(data: bytes, at: int, sign: bytes) -> tuple[int, int]:
    end = data.find(b"\r\n", at)
    digits = data[at + 1 : end]
    # Leading zeros and signs would be read by int(), and Redis would refuse them.
    if data[at : at + 1] != sign or end < 0 or not digits.isdigit() or str(int(digits)).encode() != digits:
        raise ValueError(f"no {sign!r} and number at {at}: {data[at : at + 20]!r}")
    return int(digits), end + 2


def named(found: list[Command], name: bytes) -> list[Command]:
    """The commands of one name."""
    return [command for command in found if command[0] == name]
