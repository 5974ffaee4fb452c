"""A second reader of snapshot format v1, written from docs/format/snapshot.md alone; it shares no code with the first.

    python3 snapshot_read.py DIR [--seq N]     the rows of the newest snapshot, or of that one; one line each
    python3 snapshot_read.py --look DIR        one JSON object for each snapshot: verdict, and what its manifest says

A line: the section, then the fields: u or i and a number, t or b and the bytes of a text or of bytes in hexadecimal.
Exit code: 0, 11 (damaged: nothing of it is printed), else 1. It is slow and means to be plain: it reads whole files, and
needs nothing but Python. Whether a snapshot may be trusted is not in it: the journal names roots.
"""
import argparse
import json
import os
import re
import struct
import sys

from xxh3 import xxh3_128

UNIT = 4096
HEADER_BYTES = 48
READER = 2  # of the portable form; an image is a form that this reader does not know
BODY_BYTES_MAX = 64 << 20
FIELD_BYTES_MAX = 16 << 20
NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.manifest")
SECTION = re.compile(r"[a-z0-9._-]{1,47}")
U64, U32 = 1 << 64, 1 << 32


class Refused(Exception):
    """verdict: damaged, newer or unknown."""

    def __init__(self, why, verdict="damaged"):
        super().__init__(why)
        self.verdict = verdict


def demand(fact, why):
    if not fact:
        raise Refused(why)


# ---- msgpack: only what the format uses ----

class Bytes(bytes):
    """A bin; a str stays bytes until somebody asks for its text."""


class Map(list):
    """Pairs, in their order: a key may stand there twice."""


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        demand(count <= len(self.data) - self.at, "it ends in the middle")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    def value(self, depth=0):
        """An int, bytes (a str), Bytes, list, Map, or None for what the format does not use."""
        first = self.number("B")
        if first < 0x80:
            return first
        if first < 0xc0:
            count = first & (0x1f if first >= 0xa0 else 0x0f)
            kind = "map" if first < 0x90 else "array" if first < 0xa0 else "str"
        elif first >= 0xe0:
            return first - 0x100
        elif first in (0xc0, 0xc2, 0xc3, 0xca, 0xcb):
            self.take({0xca: 4, 0xcb: 8}.get(first, 0))
            return None
        elif 0xcc <= first <= 0xd3:
            return self.number("BHIQbhiq"[first - 0xcc])
        else:
            kinds = {0xc4: ("bin", "B"), 0xc5: ("bin", "H"), 0xc6: ("bin", "I"), 0xd9: ("str", "B"), 0xda: ("str", "H"),
                     0xdb: ("str", "I"), 0xdc: ("array", "H"), 0xdd: ("array", "I"), 0xde: ("map", "H"),
                     0xdf: ("map", "I")}
            demand(first in kinds, "a byte that is no msgpack of ours")
            kind, form = kinds[first]
            count = self.number(form)
        return self.compound(kind, count, depth)

    def compound(self, kind, count, depth):
        if kind == "str":
            return self.take(count)
        if kind == "bin":
            return Bytes(self.take(count))
        items = 2 * count if kind == "map" else count
        demand(depth < 10 and items <= len(self.data) - self.at, "nested too deep, or longer than what is there")
        values = [self.value(depth + 1) for _ in range(items)]
        return values if kind == "array" else Map(zip(values[::2], values[1::2]))


# ---- the manifest ----

def uint(value, bound=U64):
    demand(isinstance(value, int) and 0 <= value < bound, "a value of another kind than its key asks for")
    return value


def text(value, bytes_max, empty_too=True):
    demand(isinstance(value, bytes) and not isinstance(value, Bytes), "a value of another kind than its key asks for")
    demand(len(value) <= bytes_max and (value or empty_too), "a text that is too long, or empty")
    try:
        result = value.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("a text is not UTF-8") from None
    demand(all(byte >= 0x20 and byte != 0x7f for byte in value), "a text with control characters")
    return result


def digest(value):
    demand(isinstance(value, Bytes) and len(value) == 16, "a value of another kind than its key asks for")
    return bytes(value)


def tuples(value, count_max, *kinds):
    demand(isinstance(value, list) and not isinstance(value, Map) and len(value) <= count_max, "no list, or too long")
    for item in value:
        demand(isinstance(item, list) and not isinstance(item, Map) and len(item) == len(kinds), "an item is no tuple")
    return [[kind(field) for kind, field in zip(kinds, item)] for item in value]


def u32(value):
    return uint(value, U32)


KEYS = {"service": lambda v: text(v, 31, False), "version": lambda v: text(v, 31), "form": lambda v: text(v, 15),
        "schema": u32, "journal_id": digest, "state_digest": digest, "effect_digest": digest,
        "sections": lambda v: tuples(v, 256, lambda name: text(name, 47, False), uint, uint, uint),
        "chunks": lambda v: tuples(v, 1 << 20, uint, u32, u32, u32, digest)}
KEYS.update({name: uint for name in (
    "seq", "epoch", "position_epoch", "position_batch", "position_seq", "entry_time_ns", "created_wall_ns", "taken_ns",
    "raw_bytes", "stored_bytes", "chunk_bytes")})


def depth_of(value):
    inside = [item for pair in value for item in pair] if isinstance(value, Map) else value
    return 1 + max(map(depth_of, inside), default=0) if isinstance(value, list) else 0


def body_of(data):
    cursor = Cursor(data)
    body = cursor.value()
    demand(isinstance(body, Map) and cursor.at == len(data), "the body is not one map")
    found = {}
    for key, value in body:
        demand(isinstance(key, bytes) and not isinstance(key, Bytes), "a key that is no text")
        name = key.decode("utf-8", "replace")
        demand(name not in found, "a key that stands there twice")
        if name == "ignorable":
            demand(isinstance(value, Map) and all(type(k) is bytes for k, _ in value), "ignorable is no map of texts")
            demand(all(depth_of(v) <= 8 for _, v in value), "nested too deep")
            found[name] = None
        elif name in KEYS:
            found[name] = KEYS[name](value)
        else:
            raise Refused("a key that it does not know", "unknown")
    demand(not set(KEYS) - set(found), "a key that must be there is not")
    return found


def check_sections(manifest):
    end = 0
    names = [name for name, *_ in manifest["sections"]]
    demand(len(set(names)) == len(names) and all(SECTION.fullmatch(name) for name in names), "a section's name")
    for _, first, size, rows in manifest["sections"]:
        demand(first == end and (rows == 0) == (size == 0) and 2 * rows <= size, "sections do not fit one another")
        end += size
    demand(end == manifest["raw_bytes"], "sections do not add up")


def check_chunks(manifest):
    raw, cut = manifest["raw_bytes"], manifest["chunk_bytes"]
    demand(UNIT <= cut <= 4 << 20 and cut % UNIT == 0, "the chunk size is out of range")
    demand(len(manifest["chunks"]) == -(-raw // cut), "another number of chunks than the raw bytes need")
    end = 0
    for i, (offset, stored, size, codec, _) in enumerate(manifest["chunks"]):
        demand(size == min(cut, raw - i * cut) and offset == end, "a chunk is not where, or as large as, its place asks")
        demand(codec == 0 and stored == size or codec == 1 and 1 <= stored < size, "a chunk's codec or stored size")
        end += -(-stored // UNIT) * UNIT
    demand(end == manifest["stored_bytes"], "chunks do not add up")


def manifest_of(data, seq, epoch):
    demand(len(data) >= HEADER_BYTES and data[:8] == b"BATONMAN", "no manifest")
    _, min_reader, body_bytes, flags = struct.unpack_from("<IIQQ", data, 8)
    demand(body_bytes <= BODY_BYTES_MAX and len(data) == HEADER_BYTES + body_bytes, "another length")
    demand(xxh3_128(data[:32] + data[48:]) == data[32:48], "its bytes do not fit its root")
    if min_reader > READER:
        raise Refused("written for newer readers", "newer")
    if flags:
        raise Refused("flags that it does not know", "unknown")
    manifest = body_of(data[HEADER_BYTES:])
    check_sections(manifest)
    check_chunks(manifest)
    if manifest["form"] != "portable":
        raise Refused("a form that it does not know", "unknown")
    demand((manifest["seq"], manifest["epoch"]) == (seq, epoch), "of another seq or epoch than its name says")
    manifest["root"] = data[32:48]
    return manifest


# ---- chunks and rows ----

def lz4_block(data, size):
    """Sequences of: token, literals, offset, match. The last one has literals only."""
    out, at = bytearray(), 0

    def length(start):
        nonlocal at
        total = start
        while start == 15:
            demand(at < len(data), "a chunk does not decompress")
            total += data[at]
            at += 1
            if data[at - 1] != 255:
                break
        return total

    while True:
        demand(at < len(data), "a chunk does not decompress")
        token = data[at]
        at += 1
        literals = length(token >> 4)
        demand(literals <= len(data) - at, "a chunk does not decompress")
        out += data[at:at + literals]
        at += literals
        if at == len(data):
            break
        demand(at + 2 <= len(data), "a chunk does not decompress")
        offset = data[at] | data[at + 1] << 8
        at += 2
        match = length(token & 15) + 4
        demand(1 <= offset <= len(out) and len(out) + match <= size, "a chunk does not decompress")
        for _ in range(match):  # it may reach into what it makes
            out.append(out[-offset])
    demand(len(out) == size, "a chunk does not decompress to its raw size")
    return bytes(out)


def stream_of(manifest, data):
    demand(len(data) == manifest["stored_bytes"], "the chunks file has another length")
    raw = []
    for offset, stored, size, codec, wanted in manifest["chunks"]:
        units = data[offset:offset + -(-stored // UNIT) * UNIT]
        demand(xxh3_128(units) == wanted, "the bytes of a chunk do not fit its digest")
        raw.append(lz4_block(units[:stored], size) if codec else units[:stored])
    return b"".join(raw)


def row_of(cursor):
    row = cursor.value()
    demand(isinstance(row, list) and not isinstance(row, Map) and 1 <= len(row) <= 256, "a row is no array of fields")
    fields = []
    for field in row:
        demand(isinstance(field, (int, bytes)), "a field of another kind")
        if isinstance(field, int):
            fields.append(("u" if field >= 0 else "i") + str(field))
            continue
        demand(len(field) <= FIELD_BYTES_MAX, "a field is too long")
        if not isinstance(field, Bytes):
            try:
                field.decode("utf-8")
            except UnicodeDecodeError:
                raise Refused("a text is not UTF-8") from None
        fields.append(("b" if isinstance(field, Bytes) else "t") + field.hex())
    return fields


def rows_of(manifest, stream):
    lines = []
    for name, first, size, rows in manifest["sections"]:
        cursor = Cursor(stream[first:first + size])
        for _ in range(rows):
            lines.append("\t".join([name] + row_of(cursor)))
        demand(cursor.at == size, "bytes after a section's last row")
    return lines


class Snapshot:
    """manifest and lines, or why and verdict: damaged, newer, unknown."""

    def __init__(self, directory, name):
        self.seq, self.epoch = (int(part, 16) for part in NAME.fullmatch(name).groups())
        self.manifest, self.lines, self.why, self.verdict = None, [], "", "good"
        base = os.path.join(directory, name.removesuffix(".manifest"))
        try:
            with open(base + ".manifest", "rb") as file:
                self.manifest = manifest_of(file.read(), self.seq, self.epoch)
            demand(os.path.exists(base + ".chunks"), "its chunks file is missing")
            with open(base + ".chunks", "rb") as file:
                self.lines = rows_of(self.manifest, stream_of(self.manifest, file.read()))
        except Refused as refused:
            self.why, self.verdict = str(refused), refused.verdict


def snapshots(directory):
    """Newest first."""
    names = [name for name in os.listdir(directory) if NAME.fullmatch(name)]
    return [Snapshot(directory, name) for name in sorted(names, reverse=True)]


def look(snapshot):
    shown = {"seq": snapshot.seq, "epoch": snapshot.epoch, "verdict": snapshot.verdict, "why": snapshot.why}
    for key, value in (snapshot.manifest or {}).items():
        shown[key] = (value.hex() if isinstance(value, bytes) else len(value) if isinstance(value, list) else value)
    return shown


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--look", action="store_true")
    parser.add_argument("--seq", type=int)
    chosen = parser.parse_args()
    found = [one for one in snapshots(chosen.directory) if chosen.seq in (None, one.seq)]
    if chosen.look:
        for one in found:
            print(json.dumps(look(one)))
        return 11 if any(one.verdict == "damaged" for one in found) else 0
    if not found:
        print("snapshot_read: no such snapshot", file=sys.stderr)
        return 1
    if found[0].verdict != "good":
        print(f"snapshot_read: {found[0].verdict}: {found[0].why}", file=sys.stderr)
        return 11 if found[0].verdict == "damaged" else 1
    sys.stdout.write("".join(line + "\n" for line in found[0].lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
