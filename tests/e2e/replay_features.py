"""Order-book scenarios that other exchanges wrote down as text, as tests of the book: each step is said to exchange-replay
commands, or compared with what it answers. Balances and holds are the risk engine's: those steps are passed over here."""
import csv
import decimal
import re
import unittest

import process
from workdir import TestCase, data_dir, main

DATA = data_dir()
CORE = DATA and DATA / "exchange-core"
HERE = bool(DATA) and (CORE / "basic.feature").exists() and (DATA / "scenarios").exists()
UNIT = 10 ** 8  # prices in the scenarios have up to 8 decimals
# Steps about money, or refused by what watches over it before an order comes to the book.
OF_THE_RISK_ENGINE = re.compile(r"(New client \w+ has a balance:|A balance of a client \w+:|\w+ \w+ is added to the balance"
                                r"|A client \w+ could not (place|move) .* due to "
                                r"(RISK_NSF|MATCHING_MOVE_FAILED_PRICE_OVER_RISK_LIMIT)$)")


class Step:
    def __init__(self, text):
        self.text = text
        self.table = []

    def with_values(self, values):
        def filled(text):
            for name, value in values.items():
                text = text.replace(f"<{name}>", value)
            return text
        step = Step(filled(self.text))
        step.table = [[filled(cell) for cell in row] for row in self.table]
        return step


def scenarios(path):
    """(name, steps) of each scenario, each outline once for each example; the background's steps come first."""
    background, found, steps, examples, name = [], [], None, None, None

    def end():
        if name is None:
            return
        for values in ([dict(zip(examples[0], row)) for row in examples[1:]] if examples else [{}]):
            found.append((f"{name} {values or ''}", [step.with_values(values) for step in background + steps]))

    for line in path.read_text().splitlines():
        line = line.strip()
        if line.startswith("|"):
            row = [cell.strip() for cell in line.strip("|").split("|")]
            (examples if examples is not None else steps[-1].table).append(row)
        elif line.startswith("Background:"):
            steps = background
        elif line.startswith("Scenario"):
            end()
            name, steps, examples = line.split(":", 1)[1].strip(), [], None
        elif line.startswith("Examples:"):
            examples = []
        elif match := re.match(r"(Given|When|Then|And) (.*)", line):
            steps.append(Step(match[2]))
    end()
    return found


class Market:
    """What was said so far; what exchange-replay makes of it."""

    def __init__(self, case):
        self.case = case
        self.directory = case.workdir()
        self.commands = []
        self.since = 0  # commands before the last step that said something
        self.clients, self.symbols = [], []

    def number(self, names, name):
        if name not in names:
            names.append(name)
        return names.index(name) + 1

    def say(self, command, order, symbol, price, size, side, kind, client):
        self.commands.append(["TEST", command, order, self.number(self.symbols, symbol), price, size, side, kind,
                              self.number(self.clients, client)])

    def run(self):
        commands, events, book = (self.directory / name for name in ("commands", "events", "book"))
        with open(commands, "w", newline="") as file:
            csv.writer(file).writerows(self.commands)
        process.run(process.program("exchange-replay"), "commands", "--commands", commands, "--events-out", events,
                    "--book-out", book)
        self.events = [row for row in csv.reader(events.read_text().splitlines())]
        self.book = [{"symbol": int(row[0]), "side": row[1], "price": int(row[2]), "order": int(row[3]),
                      "client": self.clients[int(row[4]) - 1], "size": int(row[5]), "filled": int(row[6])}
                     for row in csv.reader(book.read_text().splitlines())]
        return self

    def trades(self):
        """Of the last step that said something: (maker, taker, price, size, maker's rest)."""
        self.run()
        return [tuple(map(int, row[2:7])) for row in self.events if row[1] == "traded" and int(row[0]) > self.since]

    def side(self, side, symbol=None):
        return [row for row in self.book if row["side"] == side and
                (symbol is None or row["symbol"] == self.number(self.symbols, symbol))]

    def owner(self, order):
        return next(self.clients[row[8] - 1] for row in self.commands if row[2] == order)


def decimal_price(text):
    price = decimal.Decimal(text) * UNIT
    assert price == int(price), text
    return int(price)


@unittest.skipUnless(HERE, "no scenarios and exchange-core (set BATON_DATA)")
class Scenarios(TestCase):
    """zscott/MultiBitExchange: brokers, limit and market orders, quotes."""
    files = ["OrderBook.LimitOrder.Matching.feature", "OrderBook.MarketOrder.Matching.feature", "Exchange.Quote.feature"]

    def orders(self, market, table):
        market.since = len(market.commands)
        for broker, side, size, price in table[1:]:
            at_market = price == "M"
            side = {"BUY": "BID", "SELL": "ASK"}[side.upper()]
            worst = 0 if side == "ASK" else 2 ** 62  # of a market order
            market.say("PLACE_ORDER", len(market.commands) + 1, "EURUSD", worst if at_market else decimal_price(price), size,
                       side, "MARKET" if at_market else "GTC", broker)

    def trades(self, market, table):
        expected = [(buyer, seller, int(size), decimal_price(price)) for buyer, seller, size, price in table[1:]]
        got = []
        for maker, taker, price, size, _ in market.trades():
            buys = market.commands[taker - 1][6] == "BID"
            buyer, seller = (taker, maker) if buys else (maker, taker)
            got.append((market.owner(buyer), market.owner(seller), size, price))
        self.assertEqual(got, expected)

    def book(self, market, table):
        market.run()
        def expected(columns):
            return [(row[columns[0]], int(row[columns[1]]), decimal_price(row[columns[2]])) for row in table[1:]
                    if row[columns[0]]]
        for side, columns in (("BID", (0, 1, 2)), ("ASK", (5, 4, 3))):
            self.assertEqual([(row["client"], row["size"], row["price"]) for row in market.side(side)], expected(columns))

    def quote(self, market, table):
        market.run()
        bid, ask = market.side("BID")[0]["price"], market.side("ASK")[0]["price"]
        self.assertEqual([bid, ask, ask - bid], [decimal_price(cell) for cell in table[1]])

    def test_each_scenario_goes_as_it_is_written(self):
        count = 0
        for file in self.files:
            for name, steps in scenarios(DATA / "scenarios" / file):
                with self.subTest(file=file, scenario=name):
                    market = Market(self)
                    for step in steps:
                        self.follow(market, step)
                    count += 1
        self.assertEqual(count, 45)

    def follow(self, market, step):
        if step.text == "the following orders are submitted:":
            self.orders(market, step.table)
        elif step.text == "no trades are generated":
            self.assertEqual(market.trades(), [])
        elif step.text == "the following trades are generated:":
            self.trades(market, step.table)
        elif step.text == "market order book looks like:":
            self.book(market, step.table)
        elif step.text == "the quote looks like:":
            self.quote(market, step.table)
        else:
            self.fail(f"a step that nobody knows: {step.text}")


@unittest.skipUnless(HERE, "no scenarios and exchange-core (set BATON_DATA)")
class ExchangeCore(TestCase):
    """exchange-core/exchange-core: what is the book's of its features."""

    def place(self, market, client, side, order, price, size, kind, symbol):
        market.since = len(market.commands)
        market.say("PLACE_ORDER", int(order), symbol, price, size, side, kind, client)

    def change(self, market, command, client, order, price):
        market.since = len(market.commands)
        placed = next(row for row in market.commands if row[2] == int(order))
        self.assertEqual(market.owner(int(order)), client)
        market.commands.append(["TEST", command, int(order), placed[3], price, 0, placed[6], "null", placed[8]])

    def book(self, market, symbol, table):
        market.run()
        expected = {"BID": [], "ASK": []}
        for bid, price, ask in [row for row in table if row[1] != "price"]:
            if ask:
                expected["ASK"].insert(0, (int(price), int(ask)))
            else:
                expected["BID"].append((int(price), int(bid)))
        for side, levels in expected.items():
            got = {}
            for row in market.side(side, symbol):
                got[row["price"]] = got.get(row["price"], 0) + row["size"]
            self.assertEqual(list(got.items()), levels)

    def orders(self, market, client, table):
        market.run()
        expected = [tuple(dict(zip(table[0], row))[key] for key in ("id", "price", "size", "filled", "side"))
                    for row in table[1:]]
        got = [(str(row["order"]), str(row["price"]), str(row["size"] + row["filled"]), str(row["filled"]), row["side"])
               for row in market.book if row["client"] == client]
        self.assertEqual(sorted(got), sorted(expected))

    def matched(self, market, order, how, price, size):
        maker, _, at, traded, rest = market.trades()[-1]
        self.assertEqual((maker, at, traded, rest == 0), (int(order), int(price), int(size), how == "fully"))

    def follow(self, market, step):
        order = r"places an (ASK|BID) order (\d+) at (\d+)@(\d+) \(type: (\w+), symbol: (\w+).*\)"
        ways = [
            (rf"A client (\w+) {order}", lambda m: self.place(market, *m)),
            (r"A client (\w+) moves a price to (\d+) of the order (\d+)",
             lambda m: self.change(market, "MOVE_ORDER", m[0], m[2], m[1])),
            (r"A client (\w+) cancels the remaining size \d+ of the order (\d+)",
             lambda m: self.change(market, "CANCEL_ORDER", m[0], m[1], 0)),
            (r"An (\w+) order book is:", lambda m: self.book(market, m[0], step.table)),
            (r"No trade events", lambda m: self.assertEqual(market.trades(), [])),
            (r"A client (\w+) orders:", lambda m: self.orders(market, m[0], step.table)),
            (r"A client (\w+) does not have active orders", lambda m: self.orders(market, m[0], [[]])),
            (r"The order (\d+) is (partially|fully) matched. LastPx: (\d+), LastQty: (\d+).*",
             lambda m: self.matched(market, *m)),
        ]
        if OF_THE_RISK_ENGINE.match(step.text):
            return
        for pattern, act in ways:
            if match := re.fullmatch(pattern, step.text):
                act(match.groups())
                return
        self.fail(f"a step that nobody knows: {step.text}")

    def check(self, file, expected):
        found = scenarios(CORE / file)
        for name, steps in found:
            with self.subTest(file=file, scenario=name):
                market = Market(self)
                for step in steps:
                    self.follow(market, step)
        self.assertEqual(len(found), expected)

    def test_basic_feature(self):
        self.check("basic.feature", 3)

    def test_risk_feature_as_far_as_it_is_the_books(self):
        self.check("risk.feature", 2)


@unittest.skipUnless(HERE, "no scenarios and exchange-core (set BATON_DATA)")
class Stream(TestCase):
    """The recorded stream of 11,000 commands, all of whose references resolve."""
    path = CORE and CORE / "golden_single_pair_exchange.csv"
    digest = "204d899f15836f803cfba85a2279cbe8"  # on every build and machine

    def test_every_command_is_done_and_the_digest_is_the_same_everywhere(self):
        directory = self.workdir()
        events = directory / "events"
        summary = process.run(process.program("exchange-replay"), "commands", "--commands", self.path, "--events-out",
                              events, "-o", "json").json()
        self.assertEqual((summary["commands"], summary["done"], summary["refused"]), (11000, 11000, 0))
        self.assertEqual(summary["digest"], self.digest)
        traded = {}
        for row in csv.reader(events.read_text().splitlines()):
            if row[1] == "traded":
                cost, size = traded.get(row[3], (0, 0))
                traded[row[3]] = (cost + int(row[4]) * int(row[5]), size + int(row[5]))
        for row in csv.reader(self.path.read_text().splitlines()):
            if row[7] == "FOK_BUDGET":  # all of it, within its budget, which is its price
                cost, size = traded[row[2]]
                self.assertEqual(size, int(row[5]))
                self.assertTrue(cost <= int(row[4]) if row[6] == "BID" else cost >= int(row[4]))


if __name__ == "__main__":
    main()
