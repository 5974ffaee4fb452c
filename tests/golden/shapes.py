"""Golden journals as text: unpacked for a test, packed once by who adds one.

    python3 shapes.py pack BATON DIRECTORY INTO     every journal under DIRECTORY as INTO/NAME.txt, and what is in it

A line is `file NAME BYTES` (everything is zero), `OFFSET COUNT HEX` (up to 16 bytes, standing COUNT times from there
on), `verify {...}` (what `baton journal verify` finds, see FACTS, and its exit code) or
`entry SEQ EPOCH TIME TYPE BYTES FNV`."""
import base64
import json
import pathlib
import subprocess
import sys

GROUP = 16
FACTS = ("status", "id", "service", "epoch", "closed", "first_seq", "last_seq", "batches", "entries", "records",
         "payload_bytes", "last_digest")
RECOVERY = ("acked_lost", "torn_cut", "unproven", "evidence", "evidence_from")


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & ((1 << 64) - 1)
    return f"{value:016x}"


def entry_line(found):
    """Of one line that `baton journal dump` or tools/journal_read.py has printed."""
    payload = found["payload"].encode() if "payload" in found else base64.b64decode(found["payload_base64"])
    return (f"entry {found['seq']} {found['epoch']} {found['time_ns']} {found['type']} {len(payload)} {fnv(payload)}")


def facts(exit_code, text):
    """What is pinned of the output of `baton journal verify -o json`."""
    journal, = json.loads(text)["journals"]
    return {"exit": exit_code, **{key: journal[key] for key in FACTS},
            **{key: journal["recovery"][key] for key in RECOVERY}}


def unpack(text_path, directory):
    """Write the segment files. Returns (the facts, the lines of the entries)."""
    pathlib.Path(directory).mkdir()
    file, found, entries = None, None, []
    for line in pathlib.Path(text_path).read_text().splitlines():
        word, rest = line.split(" ", 1)
        if word == "file":
            name, size = rest.split()
            file = pathlib.Path(directory, name)
            with open(file, "wb") as made:
                made.truncate(int(size))
        elif word == "verify":
            found = json.loads(rest)
        elif word == "entry":
            entries.append(line)
        else:
            count, data = rest.split()
            with open(file, "r+b") as made:
                made.seek(int(word))
                made.write(int(count) * bytes.fromhex(data))
    return found, entries


def groups(data):
    """(offset, count, bytes) of every group that is not zero, equal neighbours together."""
    found = []
    for at in range(0, len(data), GROUP):
        part = data[at:at + GROUP]
        if not any(part):
            continue
        if found and found[-1][2] == part and found[-1][0] + found[-1][1] * GROUP == at:
            found[-1][1] += 1
        else:
            found.append([at, 1, part])
    return found


def pack(baton, directory):
    lines = []
    for path in sorted(pathlib.Path(directory).glob("*.seg")):
        data = path.read_bytes()
        lines.append(f"file {path.name} {len(data)}")
        lines += [f"{at} {count} {part.hex()}" for at, count, part in groups(data)]
    verified = subprocess.run([baton, "journal", "verify", "-o", "json", directory], capture_output=True, text=True)
    dumped = subprocess.run([baton, "journal", "dump", directory], capture_output=True, text=True)
    lines.append("verify " + json.dumps(facts(verified.returncode, verified.stdout)))
    lines += [entry_line(json.loads(line)) for line in dumped.stdout.splitlines()]
    return "\n".join(lines) + "\n"


def main(arguments):
    if len(arguments) != 4 or arguments[0] != "pack":
        sys.exit(__doc__)
    for directory in sorted(pathlib.Path(arguments[2]).iterdir()):
        target = pathlib.Path(arguments[3], directory.name + ".txt")
        if target.exists():
            print(f"{target} is there: a golden file is never made again", file=sys.stderr)
        else:
            target.write_text(pack(arguments[1], directory))


if __name__ == "__main__":
    main(sys.argv[1:])
