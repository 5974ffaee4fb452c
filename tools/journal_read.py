"""A second reader of journal format v1, written from docs/format/journal.md alone; it shares no code with the first.

    python3 journal_read.py DIR [--from SEQ] [--to SEQ]    entries, as `baton journal dump` prints them
    python3 journal_read.py --look DIR                     one JSON object: verdict, end, evidence, counts

Exit code: 0, 10 (--look: a torn tail), 11 (acknowledged data is damaged; the entries before it are printed), else 1.
It is slow and means to be plain: it reads whole files, and needs nothing but Python. It looks at a journal at rest.
"""
import argparse
import base64
import json
import os
import re
import struct
import sys

from xxh3 import xxh3_128

UNIT = 4096
EXIT_CODES = {"whole": 0, "torn": 10, "damaged": 11}  # of --look; others are 1
MASK = (1 << 64) - 1

# ---- units ----

def le32(data, at):
    return struct.unpack_from("<I", data, at)[0]


def le64(data, at):
    return struct.unpack_from("<Q", data, at)[0]


def position(data, at):
    return struct.unpack_from("<3Q", data, at)


class Newer(Exception):
    pass


def sealed_unit(unit, magic, known_flags):
    if len(unit) < UNIT or unit[:8] != magic or xxh3_128(unit[:UNIT - 16]) != unit[UNIT - 16:]:
        return False
    if le32(unit, 8) > 1 or le32(unit, 12) & ~known_flags:
        raise Newer
    return True


def header_in_range(unit):
    """Numbers that fit each other, and zeros where nothing is said."""
    size, roots = le64(unit, 48), le32(unit, 180)
    continues = position(unit, 72)
    return (size % UNIT == 0 and size >= 3 * UNIT and roots <= 64 and not any(unit[256 + 24 * roots:4080])
            and le64(unit, 56) == continues[1] + 1 and le64(unit, 64) == continues[2] + 1
            and b"\0" in unit[144:176] and not any(unit[unit.index(b"\0", 144):176])
            and not any(unit[252:256]) and any(unit[16:32]) and continues_in_range(unit, continues))


def continues_in_range(unit, continues):
    index, offset = le64(unit, 112), le64(unit, 120)
    if not continues[1]:
        return not any(unit[72:128])
    return (1 <= continues[0] <= le64(unit, 32) and 1 <= index < le64(unit, 40)
            and offset >= 2 * UNIT and offset % UNIT == 0)


class Segment:
    def __init__(self, path, epoch, index):
        with open(path, "rb") as file:
            self.data = file.read()
        self.path, self.epoch, self.index = path, epoch, index
        self.cut = None
        self.live = False
        self.recycled = self.follower = False
        unit = self.data[:UNIT].ljust(UNIT, b"\0")
        self.valid = (sealed_unit(unit, b"BATONSEG", 7) and le64(unit, 32) == epoch and le64(unit, 40) == index
                      and header_in_range(unit))
        self.size = len(self.data) // UNIT * UNIT
        if not self.valid:
            return
        self.follower = bool(le32(unit, 12) & 2)
        self.recycled = bool(le32(unit, 12) & 4)
        self.id = unit[16:32]
        self.bytes = le64(unit, 48)
        self.first_batch, self.first_seq = le64(unit, 56), le64(unit, 64)
        self.continues = position(unit, 72)
        self.continues_digest = unit[96:112]
        self.continues_index, self.continues_offset = le64(unit, 112), le64(unit, 120)
        self.begins_epoch = self.continues[0] != epoch
        self.size = min(self.size, self.bytes)

    def trailer(self, journal_id, at):
        unit = self.data[at:at + UNIT]
        if (sealed_unit(unit, b"BATONEND", 2) and le64(unit, 32) == self.epoch and le64(unit, 40) == self.index
                and (journal_id is None or unit[16:32] == journal_id)):
            return position(unit, 48)
        return None


class Batch:
    """The valid batch at an offset. Frames are (seq, type, time_ns, payload, is_record, epoch)."""

    def __init__(self, data):
        self.flags = struct.unpack_from("<H", data, 2)[0]
        self.entry_count, self.bytes, self.used = struct.unpack_from("<3I", data, 4)
        self.epoch, self.batch, self.first_seq, seq, epoch, batch = struct.unpack_from("<6Q", data, 16)
        self.durable = (epoch, batch, seq)
        self.previous, self.id, self.digest = data[80:96], data[96:112], data[112:128]
        self.frames = []


def plausible(batch):
    return (0 < batch.bytes <= 4 << 20 and batch.bytes % UNIT == 0
            and 128 <= batch.used <= batch.bytes and batch.used % 8 == 0)


def batch_at(data, at, end):
    head = data[at:at + UNIT]
    if len(head) < UNIT or at + UNIT > end:
        return None
    batch = Batch(head)
    if not plausible(batch) or at + batch.bytes > min(end, len(data)):
        return None
    whole = bytearray(data[at:at + batch.bytes])
    whole[112:128] = bytes(16)
    if xxh3_128(bytes(whole)) != batch.digest:
        return None
    if struct.unpack_from("<H", head)[0] > 1 or batch.flags & ~3:
        raise Newer
    if not batch.epoch or not batch.batch or not batch.first_seq or (
            batch.flags == 2 or batch.flags and batch.used != 128):
        return None
    offset, seq = 128, batch.first_seq
    while offset < batch.used:
        size, kind, flags, time_ns = struct.unpack_from("<IHHQ", whole, offset)
        stored = 16 + (size + 7) // 8 * 8
        if size > 65536 or offset + stored > batch.used or any(whole[offset + 16 + size:offset + stored]):
            return None
        if flags & ~1:
            raise Newer
        payload = bytes(whole[offset + 16:offset + 16 + size])
        batch.frames.append((seq, kind, time_ns, payload, bool(flags & 1), batch.epoch))
        seq += 0 if flags & 1 else 1
        offset += stored
    if seq - batch.first_seq != batch.entry_count or any(whole[batch.used:]):
        return None
    return batch


def carried(batch):
    epoch, number, seq = batch.durable
    return epoch <= batch.epoch and number < batch.batch and seq < batch.first_seq


# ---- the journal ----

NAME = re.compile(r"^([0-9a-f]{16})-([0-9a-f]{16})\.seg$")


def segments_of(directory):
    found = []
    for name in os.listdir(directory) if os.path.isdir(directory) else []:
        match = NAME.match(name)
        if match and int(match[1], 16) and int(match[2], 16):
            found.append(Segment(os.path.join(directory, name), int(match[1], 16), int(match[2], 16)))
    found.sort(key=lambda s: (s.epoch, s.index))
    for at, segment in enumerate(found):
        older = [s for s in found[:at] if s.valid and s.epoch == segment.epoch]
        if not segment.valid and older:  # unless it is its epoch's first, it may be recycled
            segment.recycled, segment.follower = True, older[-1].follower
    return found


def mark_live(segments):
    """Back from the highest epoch. Returns the first live segment and whether its predecessor is missing."""
    valid = [s for s in segments if s.valid]
    if not valid:
        return None, False
    epoch, cut_index, cut_offset, oldest = valid[-1].epoch, None, None, None
    while True:
        part = [s for s in valid if s.epoch == epoch and (cut_index is None or s.index <= cut_index)]
        if not part:
            break
        for s in reversed(part):
            if cut_index is not None and s.index > cut_index:
                continue
            s.live = True
            if s.index == cut_index:
                s.cut = cut_offset
            if s.follower:
                cut_index, cut_offset = s.continues_index, s.continues_offset
            oldest = s
        if not oldest.begins_epoch or oldest.continues[1] == 0:
            break
        epoch, cut_index, cut_offset = oldest.continues[0], oldest.continues_index, oldest.continues_offset
    missing = oldest.continues[1] != 0 and any(
        (s.epoch, s.index) == (oldest.continues[0], oldest.continues_index)
        or (s.valid and s.epoch <= oldest.continues[0] and s.index < oldest.continues_index)
        for s in segments[:segments.index(oldest)])
    return oldest, missing


class Journal:
    def __init__(self, directory):
        self.segments = segments_of(directory)
        self.entries, self.records = [], 0
        self.last, self.digest = (0, 0, 0), bytes(16)
        self.end = (0, 0)
        self.evidence = (0, 0, 0)
        self.torn_cut, self.closed = 0, False
        self.first_seq = 0
        ids = {s.id for s in self.segments if s.valid}
        self.id = ids.pop() if len(ids) == 1 else None
        self.verdict = "other journal" if ids else self.judge()

    def prove(self, found):
        self.evidence = max(self.evidence, found)  # by epoch, then batch, then seq

    def accept(self, segment):
        """Every batch of one segment that continues the chain. Returns the offset where that ends."""
        at, end = UNIT, segment.bytes - UNIT
        if segment.cut is not None:
            end = min(end, segment.cut)
        while at < end:
            batch = batch_at(segment.data, at, end)
            if (batch is None or batch.id != self.id or batch.epoch != segment.epoch
                    or batch.batch != self.last[1] + 1 or batch.first_seq != self.last[2] + 1
                    or batch.previous != self.digest or not carried(batch)):
                break
            for frame in batch.frames:
                self.records += frame[4]
                if not frame[4]:
                    self.entries.append(frame)
            if not segment.follower:
                self.prove(batch.durable)
            self.last = (segment.epoch, batch.batch, self.last[2] + batch.entry_count)
            self.digest, self.closed = batch.digest, bool(batch.flags & 2)
            at += batch.bytes
            self.end = (segment.index, at)
        return at

    def is_stale(self, segment, unit):
        """Of the file's life before: no batch of this epoch behind the last accepted one begins here."""
        head = Batch(unit)
        return segment.recycled and not (
            plausible(head) and head.epoch == segment.epoch and self.id in (None, head.id)
            and (head.epoch, head.batch) > self.last[:2])

    def search(self, segment, at):
        """Evidence and torn bytes behind the end."""
        first = last = None
        while at + UNIT <= segment.size:
            unit = segment.data[at:at + UNIT]
            step = UNIT
            trailer = segment.trailer(self.id, at)
            is_last = segment.valid and at + UNIT == segment.bytes
            if trailer:
                self.prove(trailer)
            elif any(unit) and not is_last and not self.is_stale(segment, unit):
                reach = min(Batch(unit).bytes, segment.size - at) if segment.recycled else UNIT
                batch = batch_at(segment.data, at, segment.size)
                if batch and batch.epoch == segment.epoch and self.id in (None, batch.id):
                    step = reach = batch.bytes
                    if carried(batch) and not segment.follower:
                        self.prove(batch.durable)
                first = at if first is None else first
                last = max(last or 0, at + reach)
            at += step
        if first is not None:
            self.torn_cut += last - first

    def judge(self):
        oldest, missing = mark_live(self.segments)
        stop, stop_at = 0, UNIT
        if oldest:
            self.first_seq = oldest.first_seq
            if missing:
                return "damaged"
            self.last, self.digest = oldest.continues, oldest.continues_digest
            self.end = (oldest.continues_index, oldest.continues_offset)
            for segment in [s for s in self.segments if s.live]:
                if (segment.continues, segment.continues_digest) != (self.last, self.digest) or \
                        (segment.continues_index, segment.continues_offset) != self.end:
                    if segment.begins_epoch:  # it knew more than there is now
                        return "damaged"
                    break
                if segment.begins_epoch:
                    self.prove(segment.continues)
                self.closed = False
                stop, stop_at = self.segments.index(segment), self.accept(segment)
        for at, segment in enumerate(self.segments[stop:], stop):
            if self.closed and segment.epoch == self.segments[stop].epoch:
                continue
            self.search(segment, stop_at if at == stop else UNIT)
        for segment in self.segments:  # also those that the walk did not reach
            if segment.live and segment.begins_epoch:
                self.prove(segment.continues)
        if any(proven > found for proven, found in zip(self.evidence, self.last)):
            return "damaged"
        return "torn" if self.torn_cut else "whole"


def fnv(entries):
    value = 0xCBF29CE484222325
    for seq, kind, time_ns, payload, *_ in entries:
        for byte in struct.pack("<QHQ", seq, kind, time_ns) + payload:
            value = (value ^ byte) * 0x100000001B3 & MASK
    return f"{value:016x}"


def look(directory, journal=None):
    try:
        journal = journal or Journal(directory)
    except Newer:
        return {"verdict": "newer format"}
    return {
        "verdict": journal.verdict,
        "last": list(journal.last),
        "last_digest": journal.digest.hex(),
        "first_seq": journal.first_seq if journal.first_seq <= journal.last[2] else 0,
        "evidence_batch": journal.evidence[1],
        "torn_cut": journal.torn_cut,
        "entries": len(journal.entries),
        "records": journal.records,
        "hash": fnv(journal.entries),
    }


def describe(entry):
    """The JSON object of one entry: `payload` when it is UTF-8 text, else `payload_base64`."""
    seq, kind, time_ns, payload, _, epoch = entry
    found = {"seq": seq, "epoch": epoch, "time_ns": time_ns, "type": kind}
    try:
        found["payload"] = payload.decode()
    except UnicodeDecodeError:
        found["payload_base64"] = base64.b64encode(payload).decode()
    return found


def dump(directory, first, last):
    journal = Journal(directory)
    for entry in journal.entries:
        if entry[0] >= first and (not last or entry[0] <= last):
            print(json.dumps(describe(entry), ensure_ascii=False, separators=(",", ":")))
    if journal.verdict not in ("whole", "torn"):
        print(f"journal_read: {directory}: {journal.verdict}: it ends at {journal.last}, and {journal.evidence} "
              "was durable", file=sys.stderr)
    return 0 if journal.verdict == "torn" else EXIT_CODES.get(journal.verdict, 1)


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first entry wanted")
    parser.add_argument("--to", dest="last", type=int, default=0, help="the last entry wanted")
    parser.add_argument("--look", action="store_true", help="the verdict instead of the entries")
    options = parser.parse_args(arguments)
    try:
        if not options.look:
            return dump(options.directory, options.first, options.last)
    except Newer:
        print(f"journal_read: {options.directory}: a newer format", file=sys.stderr)
        return 1
    found = look(options.directory)
    print(json.dumps(found))
    return EXIT_CODES.get(found["verdict"], 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
