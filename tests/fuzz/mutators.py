"""What makes a file of a stranger out of a good one: bytes, tokens, trees, archives."""

import io
import json
import re
import string
import struct
import zipfile
import zlib

NUMBERS = [b"0", b"-1", b"1e308", b"-0.0", b"9" * 50, b"1" * 5000, b"NaN", b"Infinity"]
NUMBERS += [b"9223372036854775807", b"-9223372036854775808", b"4294967296", b"1e999"]
NUMBERS += [b"0x10", b"1_0", b"5e-324", b"2147483648", b"18446744073709551616", b"0.1"]
TOKENS = [
    b"null",
    b"true",
    b"{}",
    b"[]",
    b'""',
    b"~",
    b"&a",
    b"*a",
    b"!!python/x",
    b"<<",
]
TOKENS += [
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\x1b[31m",
    b"\r\n::error::x",
    b"##[",
]
TOKENS += [
    "\u202e".encode(),
    "é".encode(),
    b"\\u0000",
    b"\\ud800",
    b"---",
    b"...",
    b"%",
]
TOKENS += [b":", b",", b"=", b"::", b"'", b'"', b"#", b"\n", b"\t", b"  ", b"|", b">-"]
TOKENS += [
    b"__class__",
    b"lambda: 0",
    b"exp(",
    b")",
    b"out[:, :3]",
    b"[::0]",
    b"**",
    b"@",
]
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WORD = re.compile(rb"[A-Za-z_]\w*")
_OPEN = (b"[", b"{", b"(", b"- ", b"-", b"{a: ", b'{"a":', b"exp(", b"a.", b"? ")


def flip(rng, data, _):
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if found:
            place = rng.randrange(len(found))
            found[place] = rng.choice((0, 255, found[place] ^ 1 << rng.randrange(8)))
    return bytes(found)


def truncate(rng, data, _):
    return data[: rng.randrange(len(data) + 1)]


def cut(rng, data, _):
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 2, 4, 16, 256)) :]


def insert(rng, data, _):
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice((rng.randbytes(4), *TOKENS)) + data[place:]


def repeat(rng, data, _):
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.choice((1, 4, 16, 64, 1024))]
    return data[:start] + piece * rng.choice((2, 3, 40)) + data[start:]


def splice(rng, data, seeds):
    other = rng.choice(seeds)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def number(rng, data, _):
    """Replace a number by an extreme one."""
    return _replaced(rng, data, _NUMBER, NUMBERS)


def word(rng, data, seeds):
    """Replace a word by a token or by another word."""
    words = _WORD.findall(rng.choice(seeds)) or [b""]
    return _replaced(rng, data, _WORD, [*TOKENS, *words])


def integer(rng, data, _):
    """Overwrite a binary number."""
    form, value = rng.choice(("<I", "<Q", ">I", "<H")), rng.choice((0, 1, -1, 127))
    value = value % 2 ** (8 * struct.calcsize(form))
    place = rng.randrange(len(data) + 1)
    end = place + struct.calcsize(form)
    return data[:place] + struct.pack(form, value) + data[end:]


def nest(rng, data, _):
    """Open something many times, at some place."""
    place = rng.choice((0, rng.randrange(len(data) + 1)))
    many = rng.choice(_OPEN) * rng.choice((30, 150, 3000, 100_000))
    return data[:place] + many + data[place:]


def _replaced(rng, data, pattern, values):
    found = list(pattern.finditer(data))
    if not found:
        return flip(rng, data, None)
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(values) + data[one.end() :]


BYTES = (flip, truncate, cut, insert, repeat, splice, integer)
TEXT = (flip, truncate, cut, insert, repeat, splice, number, number, word, word, nest)


def mutated(rng, seeds, mutators=TEXT):
    """Return a seed after a few mutations."""
    data = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        data = rng.choice(mutators)(rng, data, seeds)
    return data


# Trees


def value(rng):
    """Return any plain value."""
    return rng.choice(
        (
            *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**30, 0.5, 1e308),
            *(
                "",
                "x",
                "NaN",
                "Infinity",
                "-Infinity",
                "\x1b[31m",
                "\ud800",
                "a" * 5000,
            ),
            *(
                [],
                {},
                [[]],
                [None],
                {"": None},
                "kl.gaussian.p95",
                "../x",
                "\n::error::",
            ),
            *([[[[[[1]]]]]], {"a": {"b": {"c": 1}}}, [0] * 1000, -0.0, 5e-324, "1"),
        )
    )


def tree(rng, data, seeds):
    """Change a JSON document by its structure."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return mutated(rng, seeds)
    places = list(_places(document))
    if not places:
        return mutated(rng, seeds)
    for _ in range(rng.choice((1, 1, 2, 5))):
        holder, key = rng.choice(places)
        try:
            _change(rng, holder, key, places)
        except (IndexError, KeyError):
            continue
    try:
        return json.dumps(document).encode()
    except (ValueError, RecursionError):
        return data


def _places(node):
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, item in list(items):
        yield node, key
        if isinstance(item, dict | list):
            yield from _places(item)


def _change(rng, holder, key, places):
    kind = rng.randrange(5)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[str(value(rng))[:40]] = holder.pop(key)
    elif kind == 2:
        other, place = rng.choice(places)
        holder[key] = json.loads(json.dumps(other[place]))
    elif kind == 3 and isinstance(holder[key], list) and holder[key]:
        holder[key] = holder[key][: rng.randrange(len(holder[key]))]
    else:
        holder[key] = value(rng)


# Archives


def members(data):
    """Return the members of a zip; None where it is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {info.filename: archive.read(info) for info in archive.infolist()}
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, NotImplementedError):
        return None


def packed(found, method=zipfile.ZIP_STORED):
    """Return a zip with these members, and their right checksums."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in found.items():
            archive.writestr(name, content)
    return target.getvalue()


def archive(inner):
    """Return a mutator of zips: of their members by `inner`, or of their bytes."""

    def mutate(rng, data, seeds):
        found = members(data)
        if not found or rng.random() < 0.2:
            return mutated(rng, [data, *seeds], BYTES)
        name = rng.choice(list(found))
        kind = rng.randrange(10)
        if kind == 0:
            del found[name]
        elif kind == 1:
            found[_renamed(rng, name)] = found.pop(name)
        elif kind == 2:
            found[name] = rng.choice(list(found.values()))
        else:
            found[name] = inner(rng, name, found[name])
        if not found:
            return data
        method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        return packed(found, method)

    return mutate


def _renamed(rng, name):
    place = rng.randrange(len(name) + 1)
    odd = rng.choice(("/", "\\", "..", "é", ".npy", "\x1b", *string.ascii_letters))
    return name[:place] + odd + name[place + rng.randrange(2) :]


def npy(rng, data):
    """Change an npy array: its header, with the right length, or its bytes."""
    if not data.startswith(b"\x93NUMPY") or rng.random() < 0.3:
        return mutated(rng, [data], BYTES)
    length = struct.unpack_from("<H", data, 8)[0]
    header = data[10 : 10 + length].strip()
    other = [b"{'descr': '<f4', 'fortran_order': True, 'shape': (3,)}"]
    header = rng.choice((number, word, insert, nest, descr))(rng, header, other)
    header = header[: rng.choice((60_000, 300))] + b"\n"
    return data[:8] + struct.pack("<H", len(header)) + header + data[10 + length :]


_KINDS = ["<f8", ">f2", "|O", "|S3", "<U4", "|V8", "<M8[ns]", "<m8", "|b1", "<i8"]
_KINDS += [">u2", "<c16", "<f16", "|i1", "<U0", "|S0"]


def descr(rng, header, _):
    """Change the type or the shape in a header."""
    shapes = ("()", "(0,)", "(-1,)", "(1,)*40", "(2**62, 4)", "(3, 3)", "(1e3,)", "3")
    shapes += ("(9223372036854775807,)", "(True, 3)", "('3',)", "(4294967296,)*2")
    if rng.random() < 0.5:
        new = rng.choice((*_KINDS, "[('a', '<f4')]", "f", "1000000000f8", "('<f4', 3)"))
        return re.sub(rb"'<?[|>]?\w\d+'", repr(new).encode(), header, count=1)
    return re.sub(rb"\([\d, ]*\)", rng.choice(shapes).encode(), header, count=1)
