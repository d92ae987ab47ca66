"""Packets by hand, and packets spoilt at random from a seed."""

import struct


def string(text):
    """Return a text as OSC pads it."""
    data = text.encode() + b"\0"
    return data + b"\0" * (-len(data) % 4)


def bundle(*elements, timetag=1):
    """Return a bundle."""
    sized = b"".join(struct.pack(">i", len(element)) + element for element in elements)
    return b"#bundle\0" + struct.pack(">Q", timetag) + sized


def _flip(data, draws):
    at = draws.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << draws.randrange(8)]) + data[at + 1 :]


def _overwrite(data, draws):
    at = draws.randrange(len(data))
    return data[:at] + draws.choice(INTERESTING) + data[at + 4 :]


def _cut(data, draws):
    return data[: draws.randrange(len(data))]


def _insert(data, draws):
    at = draws.randrange(len(data) + 1)
    return data[:at] + draws.randbytes(draws.randrange(1, 9)) + data[at:]


def _repeat(data, draws):
    first, last = sorted(draws.randrange(len(data) + 1) for _ in range(2))
    return data[:last] + data[first:last] * draws.randrange(1, 4) + data[last:]


def _wrap(data, draws):
    return bundle(*[data] * draws.randrange(1, 5), timetag=draws.choice((0, 1, 2**63, 2**64 - 1)))


def _noise(data, draws):
    return draws.randbytes(draws.randrange(len(data) + 1))


MUTATIONS = (_flip, _overwrite, _cut, _insert, _repeat, _wrap, _noise)
INTERESTING = (
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\x7f\xc0\0\0",
    b",ssi",
    b"[[{{",
    b"*/*?",
    b"////",
    b"#bun",
    b"\xc0\xdb\xc0\xdb",
)


def mutated(data, draws):
    """Return a packet after one to four mutations."""
    for _ in range(draws.randrange(1, 5)):
        if data:
            data = draws.choice(MUTATIONS)(data, draws)
    return data[:65_000]
