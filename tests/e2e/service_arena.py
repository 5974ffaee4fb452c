"""The matching engine's state in its arena, by the real programs: where it is and what it is of makes no difference."""
import process
from service_client import DONE, NEW, OLD, SELL, ServiceCase, cancel, order
from workdir import main

PLACES = ((), ("--arena-memory", "memfd"), ("--arena-memory", "huge"),
          ("--arena-address", "0x553000000000", "--arena-size", "256MiB"))


class Arena(ServiceCase):
    def trade(self, engine, first):
        client = self.client(engine)
        for seq in range(first, first + 40, 2):
            placed = client.ack(order(1, seq, price=100 + seq % 7, size=seq, side=seq % 4 // 2))
            self.assertEqual(placed.outcome, DONE)
            client.ack(cancel(1, seq + 1, max(1, placed.seq - 3)))
        self.assertEqual(client.ack(order(2, first, price=101, size=50, side=SELL)).outcome, DONE)
        client.close()

    def digest(self, *options, program=NEW):
        return process.run(program, "baton", "digest", self.data, "-o", "json", *options, check=0).json()

    def test_every_kind_and_place_of_arena_goes_on_with_the_same_state(self):
        for turn, options in enumerate(PLACES):
            engine = self.engine(*options, program=NEW)
            self.trade(engine, 1 + 100 * turn)
            self.assertEqual(engine.terminate(), 0, engine.err()[-3000:])
            plain = self.digest("--from-start")
            self.assertGreater(plain["seq"], 40 * turn)
            for again in (self.digest(), self.digest("--arena-address", "0x552000000000", "--arena-size", "1GiB")):
                self.assertEqual((again["seq"], again["state_digest"]), (plain["seq"], plain["state_digest"]))

    def test_info_names_the_layout_which_both_versions_share(self):
        layouts = {process.run(program, "baton", "info", "-o", "json", check=0).json()["layout"] for program in (OLD, NEW)}
        self.assertEqual(len(layouts), 1)
        self.assertRegex(layouts.pop(), "^[0-9a-f]{32}$")

    def test_an_arena_that_can_not_be_is_refused_before_anything_is_made(self):
        for options, words in ((("--arena-size", "2MiB"), ("too small", "--arena-size")),
                               (("--arena-size", "lots"), ("--arena-size",)),
                               (("--arena-size", "100000"), ("64 KiB",)),
                               (("--arena-address", "here"), ("--arena-address", "0x551000000000")),
                               (("--arena-address", "0x551000001000"), ("2 MiB",)),
                               (("--arena-memory", "paper"), ("--arena-memory", "memfd"))):
            result = process.run(NEW, "run", "--dir", self.data, "--listen", f"unix:{self.orders_path}", *options)
            self.assertEqual(result.status, 1, result.stderr)
            for word in words:
                self.assertIn(word, result.stderr)
            self.assertFalse(self.data.exists())


if __name__ == "__main__":
    main()
