"""Was anything lost or doubled? From what the clients were told and what the journals hold, not from belief."""
import base64
import csv
import json
import subprocess

NO_ROOM = 70
NOT_APPLIED = {65, 66, 67, 68, NO_ROOM}  # outcomes of examples/exchange/protocol.h
COMMAND_TYPES = range(2, 10)    # entries that carry (client id, client seq) first


def read_acks(path):
    """Rows of exchange-load's --acks-out, numbers as int."""
    with open(path, newline="") as file:
        return [{key: int(value) for key, value in row.items()} for row in csv.DictReader(file)]


def journaled_commands(baton, journal):
    """How often each (client, client seq) stands in the journal, and with which seq."""
    found = {}
    dump = subprocess.run([baton, "journal", "dump", journal], check=True, stdout=subprocess.PIPE)
    for line in dump.stdout.splitlines():
        entry = json.loads(line)
        if entry["type"] not in COMMAND_TYPES:
            continue
        if "payload_base64" in entry:
            payload = base64.b64decode(entry["payload_base64"])
        else:
            payload = entry["payload"].encode()
        name = (int.from_bytes(payload[0:8], "little"), int.from_bytes(payload[8:16], "little"))
        found.setdefault(name, []).append(entry["seq"])
    return found


def judge(acks, journaled):
    """(lost, doubled): commands acked as applied that the journal does not hold; commands it holds twice."""
    lost = sum(1 for row in acks
               if row["acked_ns"] and row["outcome"] not in NOT_APPLIED
               and row["seq"] not in journaled.get((row["client"], row["client_seq"]), ()))
    doubled = sum(len(seqs) - 1 for seqs in journaled.values())
    return lost, doubled


def reordered(journaled):
    """Commands that stand in the journal before an earlier one of their client."""
    last, count = {}, 0
    for client, client_seq in sorted(journaled, key=lambda name: journaled[name][0]):
        count += client_seq < last.get(client, 0)
        last[client] = max(client_seq, last.get(client, 0))
    return count


def same_acks(some, others):
    """Were the clients told the same? All but the times and the connection."""
    told = ("client", "client_seq", "type", "outcome", "seq", "filled", "remaining")
    return [[row[key] for key in told] for row in some] == [[row[key] for key in told] for row in others]


def replay(engine, directory, effects=None, options=()):
    """Rebuild the state from entry 1, in a process of its own: digests over schema 1's fields, and all effects."""
    command = [engine, "baton", "replay", directory, "--from-start", "--digest-schema", "1", "-o", "json", *options]
    if effects:
        command += ["--effects", effects]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def same_effects(one, other):
    """Are two --effects files equal but for the epoch? The epoch says who wrote, not what happened."""
    with open(one) as a, open(other) as b:
        while True:
            left, right = a.readline(), b.readline()
            if not left or not right:
                return left == right
            left, right = json.loads(left), json.loads(right)
            left.pop("epoch", None)
            right.pop("epoch", None)
            if left != right:
                return False


def digest(engine, directory, options=()):
    """Of its state and its effects at its end, over schema 1's fields, from its newest snapshot or from entry 1."""
    command = [engine, "baton", "replay", directory, "--digest-schema", "1", "-o", "json", *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
