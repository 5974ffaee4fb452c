"""Market data and settlement before the real matching engine, under load, whoever is killed or replaced: the trades in SQLite are
the trades of the stream are the trades of the engine's own journal, each once."""
import os
import random
import shutil
import sqlite3
import struct

import process
from cli_case import private_mounts_work
from exchange_market import Listener, Replayed
from handover_case import ENGINE_NEW, ENGINE_OLD, LOAD, HandoverCase
from market import REQUEST, SNAPSHOT, MarketWire, books_of_messages, tops_of_books, trades_of_messages
from service_client import ERROR, SELL, Client, frame, order
from workdir import free_port, main, seed, wait_until

MARKET, SETTLEMENT = process.program("market-data"), process.program("settlement")
OUTBOX = ("--outbox", "settlement,market-data")


class MarketCase(HandoverCase):
    def setUp(self):
        super().setUp()
        self.seed = seed()
        self.orders, self.feed, self.market_path = map(self.socket_path, ("orders", "feed", "market"))
        self.db, self.stream = self.root / "settlement.db", self.root / "stream"
        host = random.Random(self.seed)
        self.group = f"239.{host.randrange(1, 255)}.{host.randrange(1, 255)}.{host.randrange(1, 255)}:{free_port()}"

    def run_engine(self, directory=None, *options, program=ENGINE_OLD, standby_of=None):
        return self.run_program(program, directory or self.data, "--listen", f"unix:{self.orders}", "--feed",
                                f"unix:{self.feed}", *OUTBOX, *options, standby_of=standby_of)

    def engine_runs(self, *options, **more):
        return self.wait_running(self.run_engine(None, *options, **more))

    def market_runs(self):
        child = self.spawn(MARKET, "--dir", self.stream, "--from", f"unix:{self.feed}", "--listen",
                           f"unix:{self.market_path}", "--multicast", self.group)
        child.wait_for("market_data.ready", "stderr")
        return child

    def settlement_runs(self):
        child = self.spawn(SETTLEMENT, "--db", self.db, "--from", f"unix:{self.feed}")
        child.wait_for("settlement.ready", "stderr")
        return child

    def client(self):
        return Client(self, f"unix:{self.orders}")

    def load(self, count, rate, first_client=1):
        return self.spawn(LOAD, "--connect", f"unix:{self.orders}", "--orders", count, "--rate", rate, "--clients", 16,
                          "--first-client", first_client, "--seed", self.seed)

    def unconfirmed(self, directory=None):
        status = self.status_of(directory or self.data)
        return status["outbox"]["effects"] if status else None

    def wait_all_confirmed(self, directory=None):
        wait_until(lambda: self.unconfirmed(directory) == 0, "settlement and market data to have all")

    def market(self):
        wire = MarketWire(self.market_path)
        self.addCleanup(wire.close)
        return wire

    def settled(self, db=None):
        """(trade id, price, size, symbol, taker's side), and who traded."""
        file = sqlite3.connect(db or self.db)
        rows = file.execute("SELECT trade_id, price, size, symbol, taker_side, maker_client, maker_seq, taker_client, "
                            "taker_seq FROM trades ORDER BY trade_id").fetchall()
        file.close()
        return [row[:5] for row in rows], [row[5:] for row in rows]

    def assert_all_agree(self, listener, program, directory):
        """Each trade once, in the stream, in SQLite and in the engine's journal; and the books."""
        replayed = Replayed(program, directory, *OUTBOX)
        self.assertGreater(len(replayed.trades), 0)
        number, books = self.market().snapshot()
        wait_until(lambda: listener.whole == number + 1, "the listener to have all messages")
        messages = listener.messages()
        self.assertEqual(listener.wrong, [])
        self.assertEqual(len(listener.streams), 1)
        self.assertEqual(trades_of_messages(messages), replayed.trades)
        self.assertEqual(self.settled(), (replayed.trades, replayed.parties))
        told, tops = books_of_messages(messages)
        self.assertEqual(told, replayed.levels())
        self.assertEqual(books, told)
        self.assertEqual({symbol: top for symbol, top in tops.items() if top[1] or top[3]}, tops_of_books(told))


class Once(MarketCase):
    def test_whoever_is_killed_under_load_each_trade_is_told_and_settled_once(self):
        engine, market, settlement = self.engine_runs(), self.market_runs(), self.settlement_runs()
        listener = Listener(self, self.group, self.market_path, lose=0.2, seed=self.seed)
        load = self.load(9000, 3000)
        for cut in range(6):
            seen = listener.next
            wait_until(lambda: listener.next > seen + 150 or not load.running(), "the stream to go on")
            if cut % 3 == 0:
                market.kill()
                market = self.market_runs()
            elif cut % 3 == 1:
                settlement.kill()
                settlement = self.settlement_runs()
            else:
                engine.kill()
                engine = self.engine_runs()
        self.assertEqual(load.wait(), 0, load.err())
        self.wait_all_confirmed()
        self.assertGreater(listener.lost, 0)
        self.assert_all_agree(listener, ENGINE_OLD, self.data)
        self.assertGreater(listener.asked, 0)
        for child in (market, settlement, engine):
            self.assertEqual(child.terminate(), 0, child.err())
        self.baton("journal", "verify", self.stream, check=0)

    def test_across_a_handover_under_load_no_number_is_missed_and_nothing_is_settled_twice(self):
        self.engine_runs()
        market, settlement = self.market_runs(), self.settlement_runs()
        listener = Listener(self, self.group, self.market_path, lose=0.1, seed=self.seed)
        standby = self.run_engine(self.other, program=ENGINE_NEW, standby_of=self.data)
        self.wait_level(standby, self.data)
        load = self.load(6000, 2000)
        wait_until(lambda: listener.next > 500, "the stream to begin")
        self.handover_under_load(self.data)
        self.assertEqual(load.wait(), 0, load.err())
        self.wait_all_confirmed(self.other)
        self.assert_all_agree(listener, ENGINE_NEW, self.other)
        for child in (market, settlement):
            self.assertEqual(child.terminate(), 0, child.err())


class Stream(MarketCase):
    def flow(self, client, first, count):
        for number in range(first, first + count):
            client.ack(order(1, number, size=2))
            client.ack(order(2, number, size=1, side=SELL))

    def test_a_snapshot_and_what_follows_it_are_one_story(self):
        self.engine_runs()
        market = self.market_runs()
        self.settlement_runs()
        client, early = self.client(), self.market()
        self.assertEqual(early.snapshot(), (0, {}))
        self.flow(client, 1, 20)
        self.wait_all_confirmed()
        number, books = self.market().snapshot()
        seen = []
        while len(seen) < number:
            seen += early.packet()[1]
        self.assertEqual([one[0] for one in seen], list(range(1, number + 1)))
        self.assertEqual(books_of_messages([one[1:] for one in seen])[0], books)
        self.assertEqual(books, {(0, 0, 100): (20, 10)})  # the oldest ten are filled
        market.kill()
        market = self.market_runs()  # now all of it comes out of the journal
        self.assertEqual(self.market().request(1, number), seen)
        self.assertEqual(self.market().request(7, 7), seen[6:7])
        late = self.market()
        self.assertEqual(late.snapshot(), (number, books))
        self.flow(client, 21, 1)
        stream, found, _ = late.packet()
        self.assertEqual(found[0][0], number + 1)
        with self.assertRaises(OSError):
            early.receive()
        self.assertEqual(market.terminate(), 0)

    def test_what_a_client_may_not_ask_is_refused(self):
        self.engine_runs()
        self.market_runs()
        for asked in (frame(REQUEST, struct.pack("<QQ", 0, 1)), frame(REQUEST, struct.pack("<QQ", 1, 9)),
                      frame(REQUEST, struct.pack("<QQ", 3, 2)), frame(REQUEST, b"x"), frame(SNAPSHOT, b"x"), order(1, 1)):
            wire = self.market()
            wire.send(asked)
            self.assertEqual(wire.receive()[0], ERROR)
            with self.assertRaises(OSError):
                wire.receive()

    def test_who_asks_for_everything_and_does_not_read_costs_nobody_else_the_journal(self):
        self.engine_runs()
        market, _ = self.market_runs(), self.settlement_runs()
        load = self.load(8000, 8000)
        self.assertEqual(load.wait(), 0, load.err())
        self.wait_all_confirmed()
        number, _ = self.market().snapshot()
        market.kill()
        market = self.market_runs()  # now all of it comes out of the journal
        idle = len(os.listdir(f"/proc/{market.pid}/fd"))
        for _ in range(60):
            self.market().send(frame(REQUEST, struct.pack("<QQ", 1, 0)))
        self.assertEqual([one[0] for one in self.market().request(number - 9, number)], list(range(number - 9, number + 1)))
        readers = 16 * 6  # market-data/readers.h; and what a reader has open
        self.assertLess(len(os.listdir(f"/proc/{market.pid}/fd")), idle + 61 + readers)

    def test_without_a_word_from_the_engine_the_next_number_is_still_told(self):
        market = self.market_runs()
        listener = Listener(self, self.group, self.market_path)
        wait_until(lambda: listener.streams, "a heartbeat")
        self.assertEqual(listener.next, 1)
        self.assertEqual(market.terminate(), 0)

    def test_both_say_what_they_want(self):
        for program, words in ((MARKET, ("--dir", "--multicast", "Examples:")), (SETTLEMENT, ("--db", "Examples:"))):
            text = process.run(program, "--help", check=0).stdout
            for word in words:
                self.assertIn(word, text)
            self.assertIn("missing", process.run(program, check=1).stderr)
            self.assertEqual(process.run(program, "--no-such", check=1).stdout, "")
        (self.root / "text").write_text("no database" * 1000)
        found = process.run(SETTLEMENT, "--db", self.root / "text", "--from", f"unix:{self.feed}", check=1)
        self.assertRegex(found.stderr, "baton: open .*: .*: give a file")


class Full(MarketCase):
    def test_settlement_waits_while_the_disk_is_full_and_then_misses_nothing(self):
        if not private_mounts_work():
            self.skipTest("mounting in a namespace of one's own needs root")
        engine, market = self.engine_runs(), self.market_runs()
        disk = self.root / "disk"
        disk.mkdir()
        settlement = self.spawn("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=1m none "$2" && cd "$2" && '
                                'exec "$1" --db "$2/db" --from "$3"', "sh", SETTLEMENT, disk, f"unix:{self.feed}")
        settlement.wait_for("settlement.ready", "stderr")
        inside = f"/proc/{settlement.pid}/root{disk}"
        filler = os.path.join(inside, "filler")
        with open(filler, "wb", buffering=0) as file, self.assertRaises(OSError):
            while True:
                file.write(b"x" * 4096)
        listener = Listener(self, self.group, self.market_path)
        load = self.load(4000, 4000)
        settlement.wait_for("settlement.waits", "stderr")
        self.assertIn("make room", settlement.err())
        self.assertEqual(load.wait(), 0, load.err())
        self.assertTrue(settlement.running())
        self.assertGreater(self.unconfirmed(), 0)
        os.truncate(filler, 0)
        settlement.wait_for("settlement.goes_on", "stderr")
        self.wait_all_confirmed()
        replayed = Replayed(ENGINE_OLD, self.data, *OUTBOX)
        for name in ("db", "db-wal"):  # SQLite itself can't open what is mounted elsewhere
            shutil.copy(os.path.join(inside, name), self.root / f"copy{name[2:]}")
        self.assertEqual(self.settled(self.root / "copy"), (replayed.trades, replayed.parties))
        self.assertGreater(len(listener.streams), 0)
        for child in (settlement, market, engine):
            self.assertEqual(child.terminate(), 0, child.err())


if __name__ == "__main__":
    main()
