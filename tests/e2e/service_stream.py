"""exchange-core's recorded stream of 11,000 commands through the running matching engine, on both backends and both
versions, uninterrupted and killed on the way: the same digests every time."""
import csv
import struct
import unittest

import process
from service_client import (ACK, BUY, CANCEL, DONE, NEW, NEW_ORDER, OLD, REDUCE, REPLACE, SELL, Ack, Client, ServiceCase,
                            frame)
from workdir import data_dir, main

DATA = data_dir()
STREAM = DATA and DATA / "exchange-core" / "golden_single_pair_exchange.csv"
HERE = bool(DATA) and STREAM.exists()
TIME_IN_FORCE = {"GTC": 0, "IOC": 2, "FOK": 3, "FOK_BUDGET": 4}
# What the stream comes to, with every build on every machine; another value is another behaviour.
DIGESTS = {"state_digest": "278e3af8f8ed79d3de3c3dbfd291c659", "effect_digest": "db227677cef4645625645ee31ae7dcda"}
IN_FLIGHT = 60  # an engine remembers 64 of a client


def frames():
    """Each command as its client's frame. An order's name is its client's seq, so ids become seqs."""
    seqs, placed, made = {}, {}, []
    for row in csv.DictReader(STREAM.read_text().splitlines()):
        client = int(row["uid"])
        seq = seqs[client] = seqs.get(client, 0) + 1
        price, size, side = int(row["price"]), int(row["size"]), BUY if row["action"] == "BID" else SELL
        name = struct.pack("<QQ", client, seq)
        if row["command"] == "PLACE_ORDER":
            placed[row["order_id"]] = seq
            made.append(frame(NEW_ORDER, name + struct.pack("<qQQBBBBI", price, size, 0, side,
                                                            TIME_IN_FORCE[row["order_type"]], 0, 0, 0)))
            continue
        about = name + struct.pack("<QII", placed[row["order_id"]], 0, 0)
        if row["command"] == "CANCEL_ORDER":
            made.append(frame(CANCEL, about))
        elif row["command"] == "REDUCE_ORDER":
            made.append(frame(REDUCE, about + struct.pack("<Q", size)))
        else:
            made.append(frame(REPLACE, about + struct.pack("<qQ", price, 0)))
    return made


@unittest.skipUnless(HERE, "no exchange-core stream (set BATON_DATA)")
class Stream(ServiceCase):
    def send_all(self, engine, made, acked, until):
        """From what has no answer on, in order, to this many answers. Returns how many there are."""
        client = Client(self, engine.listen)
        sent = acked
        while acked < until:
            more = made[sent:min(acked + IN_FLIGHT, len(made))]
            if more:
                client.send(*more)
                sent += len(more)
            ack = Ack(client.receive_of(ACK))
            self.assertEqual((ack.outcome, ack.seq), (DONE, acked + 1))
            acked += 1
        client.close()
        return acked

    def digests(self, name, program, backend, kills):
        made, acked = frames(), 0
        data = self.directory / name
        for at in (*kills, len(made)):
            engine = self.engine("--io", backend, program=program, data=data)
            acked = self.send_all(engine, made, acked, at)
            if at < len(made):
                engine.kill()
            else:
                self.assertEqual(engine.terminate(), 0)
        replayed = process.run(program, "baton", "replay", data, "--from-start", "--digest-schema", "1", "-o", "json").json()
        return {key: replayed[key] for key in ("state_digest", "effect_digest")}

    def test_digests_are_equal_on_both_backends_and_versions_and_after_kills(self):
        made = [self.digests("plain", OLD, "threads", ()), self.digests("kills", OLD, "threads", (1234, 7777)),
                self.digests("newer", NEW, "auto", (5000,))]
        self.assertEqual(made, [DIGESTS] * 3)


if __name__ == "__main__":
    main()
