"""Files that are nearly sound: what a damaged disk, another program or an attacker makes of them."""

from __future__ import annotations

import io
import random
import struct
import zipfile

INTERESTING = [0, 1, 0x7F, 0x80, 0xFF]
WORDS = [
    *(b"-1", b"0", b"nan", b"inf", b"1e999", b"99999999999", b"null", b"[]", b"{}", b"true", b"[" * 70, b"9" * 400),
    *(b'"@a"', b'"$1+1"', b"\0", b"\n", b"../", b"&a [*a, *a]", b"(((((((", b"\x81(.", b"c__builtin__\neval\n"),
]
NUMBERS = [0, -1, 1, 2, 255, 2**15 - 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, -(2**31), -(2**63)]


def changed(sample: bytes, chance: random.Random) -> bytes:
    """A few changes of `sample`. In a zip archive, half of the time of one file in it, so that the change is not caught by a checksum."""
    if sample[:4] == b"PK\x03\x04" and chance.random() < 0.5:
        return _changed_inside(sample, chance)
    return _changed_bytes(sample, chance)


def _changed_inside(sample: bytes, chance: random.Random) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(sample)) as archive:
            files = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # noqa: BLE001 - changed before, and damaged by that
        return _changed_bytes(sample, chance)
    chosen = chance.randrange(len(files)) if files else 0
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for number, (name, content) in enumerate(files):
            archive.writestr(name, changed(content, chance) if number == chosen else content)
    return whole.getvalue()


def _changed_bytes(sample: bytes, chance: random.Random) -> bytes:
    """Bytes flipped, words and numbers put in, pieces cut out, moved or repeated, or the end cut off; mostly near the start, where headers are."""
    data = bytearray(sample)
    for _ in range(chance.choice([1, 1, 2, 3, 8])):
        reach = len(data) if chance.random() < 0.4 else min(len(data), 400)
        at = chance.randrange(reach) if reach else 0
        match chance.randrange(8):
            case 0 if data:
                data[at] = chance.choice([*INTERESTING, chance.randrange(256)])
            case 1 if data:
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                word = chance.choice(WORDS)
                data[at : at + chance.choice([0, len(word)])] = word
            case 3:
                del data[at : at + chance.randrange(1, 9)]
            case 4:
                piece = data[at : at + chance.randrange(1, 65)]
                data[at:at] = piece * (1 if chance.random() < 0.9 else chance.randrange(1, 2000))
            case 5:
                packed = _number(chance)
                data[at : at + len(packed)] = packed
            case 6 if data:
                start = chance.randrange(len(data))
                data[at:at] = data[start : start + chance.randrange(1, 200)]
            case _:
                if chance.random() < 0.2:
                    del data[at:]
    return bytes(data)


def _number(chance: random.Random) -> bytes:
    order, kind = chance.choice("<>"), chance.choice("hiqfd")
    if kind in "fd":
        return struct.pack(order + kind, chance.choice([float("nan"), float("inf"), 1e30, -1.0]))
    size = struct.calcsize(order + kind)
    return (chance.choice(NUMBERS) & (256**size - 1)).to_bytes(size, "little" if order == "<" else "big")
