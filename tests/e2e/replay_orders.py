"""exchange-replay orders against the published results of another exchange, and PLACE/CANCEL by hand."""
import csv
import unittest

from process import program, run
from workdir import TestCase, data_dir, main

DATA = data_dir()
ORDERS = DATA and DATA / "orders-100k"
HERE = bool(DATA) and (ORDERS / "orders.csv").exists()


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def replay(orders, balances, out, *options):
    return run(program("exchange-replay"), "orders", "--orders", orders, "--balances", balances,
               "--out", out, "-o", "json", *options, check=0).json()


@unittest.skipUnless(HERE, "no orders-100k (set BATON_DATA)")
class Published(TestCase):
    def setUp(self):
        self.out = self.workdir() / "results"
        self.summary = replay(ORDERS / "orders.csv", ORDERS / "balances_init.csv", self.out)

    def test_the_resting_book_is_the_published_one_byte_for_byte(self):
        self.assertEqual((self.out / "orderbook.csv").read_text(),
                         (ORDERS / "t2_orderbook.csv").read_text())
        self.assertEqual(self.summary["orders_resting"], 52114)

    def test_the_events_and_fills_are_the_published_ones_byte_for_byte(self):
        self.assertEqual((self.out / "events.csv").read_text(),
                         (ORDERS / "t2_order_events.csv").read_text())
        self.assertEqual(self.summary["filled"] + self.summary["partially_filled"], 26278)

    def test_all_2000_account_totals_are_the_published_ones(self):
        def totals(path):
            return {(row["user_id"], row["asset_id"]): int(row["avail"]) + int(row["frozen"])
                    for row in table(path)}
        ours, published = (totals(self.out / "balances.csv"),
                           totals(ORDERS / "t2_balances_final.csv"))
        self.assertEqual(len(published), 2000)
        self.assertEqual({account: ours[account] for account in published}, published)
        # The others are accounts that never traded.
        opening = totals(ORDERS / "balances_init.csv")
        self.assertEqual(set(ours), set(opening))
        for account in set(ours) - set(published):
            self.assertEqual(ours[account], opening[account])

    def test_a_book_in_an_arena_gives_the_same_results(self):
        out = self.workdir() / "arena"
        summary = replay(ORDERS / "orders.csv", ORDERS / "balances_init.csv", out, "--arena")
        self.assertEqual(summary, self.summary)
        for name in ("orderbook.csv", "events.csv", "balances.csv"):
            self.assertEqual((out / name).read_bytes(), (self.out / name).read_bytes())

    def test_accounts_hold_exactly_what_the_resting_orders_need(self):
        needed = {}
        for row in table(self.out / "orderbook.csv"):
            remaining = int(row["qty"]) - int(row["filled_qty"])
            buys = row["side"] == "buy"
            amount = int(row["price"]) * remaining // 10**8 if buys else remaining
            account = (row["user_id"], "2" if buys else "1")
            needed[account] = needed.get(account, 0) + amount
        for row in table(self.out / "balances.csv"):
            self.assertEqual(int(row["frozen"]), needed.get((row["user_id"], row["asset_id"]), 0))


class PlaceAndCancel(TestCase):
    def test_a_cancel_gives_back_what_was_held(self):
        directory = self.workdir()
        (directory / "balances.csv").write_text(
            "user_id,asset_id,avail,frozen,version\n"
            "1,1,500000000,0,0\n1,2,0,0,0\n2,1,0,0,0\n2,2,100000,0,0\n")
        (directory / "orders.csv").write_text(
            "order_id,user_id,action,side,price,qty\n"
            "1,1,PLACE,sell,100.50,2\n"
            "2,2,place,buy,101.00,3.00000000\n"
            "3,1,place,sell,99999,0.5\n"
            "2,1,cancel,,,\n"
            "2,2,CANCEL\n"
            "9,2,cancel,,,\n")
        summary = replay(directory / "orders.csv", directory / "balances.csv", directory / "out")
        self.assertEqual((directory / "out" / "events.csv").read_text().splitlines()[1:], [
            "accepted,1,1,1,,,,",
            "accepted,2,2,2,,,,",
            "partial_filled,2,2,,200000000,100000000,,",
            "accepted,3,1,3,,,,",
            "rejected,2,1,4,,,,not_owner",
            "cancelled,2,2,,200000000,100000000,,",
            "rejected,9,2,6,,,,order_not_found",
        ])
        self.assertEqual((directory / "out" / "orderbook.csv").read_text(),
                         "order_id,user_id,side,order_type,price,qty,filled_qty,status\n"
                         "3,1,sell,limit,9999900,50000000,0,NEW\n")
        balances = {(row["user_id"], row["asset_id"]): (int(row["avail"]), int(row["frozen"]))
                    for row in table(directory / "out" / "balances.csv")}
        self.assertEqual(balances, {("1", "1"): (250000000, 50000000), ("1", "2"): (20100, 0),
                                    ("2", "1"): (200000000, 0), ("2", "2"): (79900, 0)})
        self.assertEqual((summary["accepted"], summary["cancelled"], summary["rejected"]), (3, 1, 2))

    def test_without_actions_and_without_headers_every_line_places(self):
        directory = self.workdir()
        (directory / "balances.csv").write_text("1,1,100,0,0\n1,2,100,0,0\n")
        (directory / "orders.csv").write_text("1,1,sell,1.00,0.00000010\n2,1,buy,1.00,0.00000010")
        summary = replay(directory / "orders.csv", directory / "balances.csv", directory / "out")
        self.assertEqual((summary["commands"], summary["trades"], summary["orders_resting"]),
                         (2, 1, 0))


if __name__ == "__main__":
    main()
