"""The order service, the risk engine and the matching engine by their real programs: money is held, moves and comes back,
to the unit, whoever of them is killed."""
import re

import process
import workdir
from exchange_case import BASE, QUOTE, ExchangeCase, Flow
from exchange_stage import ADMIN, BARRIER_BODY, barrier, kill_switch, limit
from exchange_wire import BARRIER_DONE, WITHDRAW, transfer
from service_client import ACK, BUY, DONE, GTC, IOC, SELL, cancel, order, replace
from workdir import main, wait_until

INSUFFICIENT, UNKNOWN_ACCOUNT, KILLED, OVER_LIMIT = 80, 81, 84, 85


class Feature(ExchangeCase):
    """exchange-core's risk.feature, where it is in scope: up to an order that is held for at another price than its own
    (reservePrice). One lot of ETH is 100000 units, and one step of a price is 10 units of XBT for a lot."""

    pairs = "1/2/100000"
    ASSETS, LOT, STEP = {"ETH": 1, "XBT": 2}, 100000, 10

    def setUp(self):
        super().setUp()
        self.numbers, self.owners, self.seqs = {}, {}, {}

    def scenarios(self):
        path = workdir.data_dir()
        path = path and path / "exchange-core" / "risk.feature"
        if not path or not path.exists():
            self.skipTest("no exchange-core/risk.feature: set BATON_DATA")
        for text in path.read_text().split("Scenario:")[1:]:
            steps = []
            for line in (line.strip() for line in text.splitlines()[1:]):
                if line.startswith("|"):
                    steps[-1][1].append([cell.strip() for cell in line.strip("|").split("|")])
                elif line and not line.startswith("@"):
                    steps.append((line.split(" ", 1)[1], []))
            yield text.splitlines()[0].strip(), steps

    def run_steps(self, name):
        steps = dict(self.scenarios())[name]
        self.start_all()
        self.connection = self.client()
        ran = 0
        for text, table in steps:
            reserve = re.search(r"BID order \d+ at (\d+)@\d+ .*reservePrice: (\d+)", text)
            if reserve and reserve.group(1) != reserve.group(2):
                break
            matches = [(act, found) for pattern, act in self.STEPS if (found := re.fullmatch(pattern, text))]
            self.assertEqual(len(matches), 1, text)
            with self.subTest(step=text):
                matches[0][0](self, table, *matches[0][1].groups())
            ran += 1
        self.assertEqual(self.anomalies(), 0)
        return ran

    def next_seq(self, client):
        self.seqs[client] = self.seqs.get(client, 0) + 1
        return self.seqs[client]

    def new_client(self, table, name):
        self.numbers[name] = len(self.numbers) + 1
        for asset, amount in table:
            self.deposit(self.connection, self.numbers[name], self.ASSETS[asset], int(amount))

    def add(self, _, amount, asset, name):
        self.deposit(self.connection, self.numbers[name], self.ASSETS[asset], int(amount))

    def place(self, _, name, could_not, side, number, price, size, kind, refused):
        client = self.numbers[name]
        seq = self.next_seq(client)
        ack = self.connection.ack(order(client, seq, price=int(price) * self.STEP, size=int(size) * self.LOT,
                                        side=BUY if side == "BID" else SELL, time_in_force={"GTC": GTC, "IOC": IOC}[kind]))
        if could_not:
            self.assertIn(ack.outcome, (INSUFFICIENT, UNKNOWN_ACCOUNT), refused)
        else:
            self.assertEqual(ack.outcome, DONE)
            self.owners[number] = (client, seq)

    def balance(self, table, name):
        for asset, amount in table:
            wait_until(lambda: self.account(self.numbers[name])[0].get(self.ASSETS[asset], (0, 0))[0] == int(amount),
                       f"{name} to have {amount} {asset} available")

    def orders_of(self, table, name):
        client = self.numbers[name]
        expected = [(self.owners[row[0]][1], int(row[1]) * self.STEP, int(row[2]) * self.LOT, int(row[3]) * self.LOT,
                     BUY if row[5] == "BID" else SELL) for row in table[1:]]
        self.assertEqual(self.open_orders(self.connection, client), expected)

    def no_orders(self, _, name):
        self.assertEqual(self.open_orders(self.connection, self.numbers[name]), [])

    def book(self, table):
        sums = {}
        for client in self.numbers.values():
            for _, price, size, filled, side in self.open_orders(self.connection, client):
                level = sums.setdefault(price // self.STEP, [0, 0])
                level[side] += (size - filled) // self.LOT
        rows = [row for row in table if row[1] != "price"]
        self.assertEqual(sums, {int(row[1]): [int(row[0] or 0), int((row[2:] or [""])[0] or 0)] for row in rows})

    def matched(self, _, number, *_rest):
        client, seq = self.owners[number]
        self.assertNotIn(seq, [one[0] for one in self.open_orders(self.connection, client)])

    def move(self, _, name, price, number):
        client, order_seq = self.owners[number]
        ack = self.connection.ack(replace(client, self.next_seq(client), order_seq, int(price) * self.STEP))
        self.assertEqual((client, ack.outcome), (self.numbers[name], DONE))

    STEPS = [
        (r"New client (\w+) has a balance:", new_client),
        (r"(\d+) (\w+) is added to the balance of a client (\w+)", add),
        (r"A client (\w+) (could not place|places) an (BID|ASK) order (\d+) at (\d+)@(\d+) \(type: (\w+), symbol: ETH_XBT, "
         r"reservePrice: \d+\)(?: due to (RISK_NSF))?",
         lambda self, table, name, verb, *rest: self.place(table, name, verb != "places", *rest)),
        (r"A balance of a client (\w+):", balance),
        (r"A client (\w+) orders:", orders_of),
        (r"A client (\w+) does not have active orders", no_orders),
        (r"An ETH_XBT order book is:", book),
        (r"The order (\d+) is fully matched. LastPx: (\d+), LastQty: (\d+)", matched),
        (r"A client (\w+) moves a price to (\d+) of the order (\d+)", move),
    ]

    def test_the_basic_scenario(self):
        self.assertEqual(self.run_steps("basic scenario"), 20)

    def test_orders_moved_up_and_down_hold_what_they_held(self):
        self.assertEqual(self.run_steps("move orders UP and DOWN"), 14)


class Money(ExchangeCase):
    def test_a_client_pays_what_it_traded_and_has_the_rest_back(self):
        self.start_all()
        client = self.client()
        self.deposit(client, 1, QUOTE, 2000)
        self.deposit(client, 2, BASE, 30)
        self.assertEqual(client.ack(order(1, 1, price=100, size=21)).outcome, INSUFFICIENT)
        self.assertEqual(client.ack(order(1, 2, price=100, size=20)).outcome, DONE)
        self.wait_account(1, {BASE: (0, 0), QUOTE: (0, 2000)})
        self.assertEqual(client.ack(order(2, 1, price=90, size=5, side=SELL)).filled, 5)
        self.wait_account(1, {BASE: (5, 0), QUOTE: (0, 1500)})
        self.wait_account(2, {BASE: (25, 0), QUOTE: (500, 0)})
        self.assertEqual(client.ack(replace(1, 3, 2, price=101)).outcome, INSUFFICIENT)
        self.assertEqual(client.ack(replace(1, 4, 2, price=80)).outcome, DONE)
        self.wait_account(1, {BASE: (5, 0), QUOTE: (300, 1200)})
        self.assertEqual(self.account(1)[1], (5, -500, 15, 0))
        self.assertEqual(client.ack(cancel(1, 5, 2)).outcome, DONE)
        self.wait_account(1, {BASE: (5, 0), QUOTE: (1500, 0)})
        self.assertEqual(self.admin(client, lambda seq: transfer(WITHDRAW, ADMIN, seq, 1, QUOTE, 1501)), INSUFFICIENT)
        self.assertEqual(self.admin(client, lambda seq: transfer(WITHDRAW, ADMIN, seq, 1, QUOTE, 1500)), DONE)
        self.assertEqual(self.anomalies(), 0)
        self.assertIn("risk_engine.reconciled", self.children["risk"].err())

    def test_kill_switches_and_limits_hold_after_a_kill_too(self):
        self.start_all()
        client = self.client()
        for number in (1, 2):
            self.deposit(client, number, QUOTE, 10000)
        self.assertEqual(client.ack(order(1, 1, price=10, size=5)).outcome, DONE)
        self.assertEqual(self.admin(client, kill_switch, 1, 1), DONE)
        self.assertEqual(self.admin(client, limit, 2, 10, 8), DONE)
        self.children["risk"].kill()
        self.start("risk")
        self.assertEqual(client.ack(order(1, 2, price=10, size=5)).outcome, KILLED)
        self.assertEqual(client.ack(cancel(1, 3, 1)).outcome, DONE)
        self.assertEqual(client.ack(order(2, 1, price=10, size=9)).outcome, OVER_LIMIT)
        self.assertEqual(client.ack(order(2, 2, price=10, size=8)).outcome, DONE)
        self.assertEqual(client.ack(order(2, 3, price=10, size=3)).outcome, OVER_LIMIT)
        self.assertEqual(self.admin(client, kill_switch, 0, 1), DONE)
        self.assertEqual(client.ack(order(2, 4, price=10, size=1)).outcome, KILLED)
        self.assertEqual(self.admin(client, kill_switch, 0, 0), DONE)
        self.assertEqual(client.ack(order(2, 5, price=10, size=1)).outcome, DONE)
        self.assertEqual(self.anomalies(), 0)

    def test_data_is_not_used_with_other_options_than_it_was_made_with(self):
        """An image has what those made: another price unit, say, would be passed over in silence."""
        given = {"orders": (), "risk": ("--pairs", self.pairs), "matching": ("--outbox", "order-service,risk-engine")}
        other = {"orders": [("--finished-max", 7)],
                 "risk": [("--pairs", "1/2/100"), ("--pairs", self.pairs + ",3/2/1"), ("--outbox", "risk-mirror")],
                 "matching": [("--outbox", "order-service"), ("--symbols", 2), ("--self-trade", "cancel-taking")]}
        for name in self.programs:
            self.children[name] = self.start(name, None, "--snapshot-form", "image")
            self.wait_phase(self.children[name], "running")
        client = self.client()
        self.deposit(client, 1, QUOTE, 100)
        self.assertEqual(client.ack(order(1, 1, price=10, size=1)).outcome, DONE)
        for name, child in self.children.items():
            self.assertEqual(child.terminate(), 0, child.err())
            replay = (self.programs[name], "baton", "replay", self.directories[name], *given[name])
            process.run(*replay, check=0)
            for wrong in other[name]:
                self.assertIn(wrong[0], process.run(*replay, *wrong, check=1).stderr)

    def test_a_barrier_goes_through_all_three_and_comes_back(self):
        self.start_all()
        client = self.client()
        self.deposit(client, 1, QUOTE, 10000)
        client.send(*[order(1, n, size=1) for n in range(1, 21)], barrier(1),
                    order(1, 21, size=1))
        acked, done = 0, None
        while done is None:
            kind, body = client.receive()
            acked += kind == ACK
            done = body if kind == BARRIER_DONE else None
        number, in_orders, in_risk, in_matching = BARRIER_BODY.unpack(done)
        self.assertEqual((number, in_matching), (1, 21))
        self.assertGreaterEqual(min(in_orders, in_risk), 22)
        self.assertGreaterEqual(acked, 20)


class Kills(ExchangeCase):
    CLIENTS, PAID_IN = (1, 2, 3, 4), {BASE: 1000, QUOTE: 100000}

    def begin(self):
        self.start_all()
        client = self.client()
        for number in self.CLIENTS:
            for asset, amount in self.PAID_IN.items():
                self.deposit(client, number, asset, amount)
        seed = workdir.seed()
        return Flow(self, seed, self.CLIENTS)

    def expect_all_accounted_for(self, flow):
        """Nothing is held when nothing is open, and everybody together has what was paid in."""
        flow.take(0)
        for number in self.CLIENTS:
            for seq, *_ in self.open_orders(flow.connection, number):
                flow.seqs[number] += 1
                self.assertEqual(flow.connection.ack(cancel(number, flow.seqs[number], seq)).outcome, DONE)
        wait_until(lambda: all(held == 0 for number in self.CLIENTS for _, held in self.account(number)[0].values()),
                   "nothing to be held")
        for asset, amount in self.PAID_IN.items():
            self.assertEqual(sum(self.account(number)[0][asset][0] for number in self.CLIENTS),
                             amount * len(self.CLIENTS))
        traded = [self.account(number)[1] for number in self.CLIENTS]
        self.assertEqual([sum(one[n] for one in traded) for n in range(4)], [0, 0, 0, 0])
        self.assertTrue(any(one[0] for one in traded))
        self.assertEqual(self.anomalies(), 0)

    def test_whoever_is_killed_balances_reconcile_to_the_unit(self):
        flow = self.begin()
        cuts = [("risk",), ("matching",), ("orders",), ("risk", "matching"), ("orders", "risk"), ("matching", "orders"),
                ("risk",)]
        for number, names in enumerate(cuts):
            flow.send(40)
            flow.take(30 - number)
            for name in names if number % 2 else ():  # else from the beginning of the journal, or an older one
                self.service("snapshot", where=str(self.directories[name]), check=0)
            for name in names:
                self.children[name].kill()
            for name in names:
                self.start(name)
            flow.again() if "orders" in names else None
            flow.take(0)
            self.assertEqual(self.anomalies(), 0)
        self.expect_all_accounted_for(flow)
        for name, child in self.children.items():
            self.assertEqual(child.terminate(), 0)
            outbox = ("--outbox", self.outbox) if name == "matching" else ()
            pairs = ("--pairs", self.pairs) if name == "risk" else ()
            process.run(self.programs[name], "baton", "verify", self.directories[name], *outbox, *pairs, check=0)

    def test_the_risk_engine_is_replaced_under_load_and_nobody_but_its_clock_notices(self):
        flow = self.begin()
        directory, other = self.directories["risk"], self.other
        for _ in range(2):
            flow.send(20)
            new = self.start("risk", other, "--standby-of", directory)
            self.wait_level(new, directory)
            flow.send(20)
            self.handover(directory, "--wait", "--max-gap", "30s", check=0)
            self.assertEqual(self.children["risk"].wait(), 0)
            self.children["risk"] = new
            directory, other = other, directory
            flow.send(20)
            flow.take(0)
        self.expect_all_accounted_for(flow)


if __name__ == "__main__":
    main()
