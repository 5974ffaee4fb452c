"""Is every order, every trade and every unit of money where it must be, once? From what the clients were told, the
journals, SQLite, the stream, and what the services answer, not from belief.

Each link of the exchange is judged alike: what its producer's journal, replayed, says to that consumer must be what
stands in the consumer's journal, word for word, in order, each once."""
import base64
import collections
import json
import sqlite3
import struct
import subprocess

import judge
from campaign import Wrong
from exchange import STATEFUL, wait_until
from exchange_wire import (BARRIER, BUY, DONE, LINKED, MATCHING_ENGINE, NOBODY, ORDER_SERVICE, REPORT, RISK_ENGINE,
                           SELL, Account, Wire, open_orders, reconcile)
from market import MarketWire, books_of_messages, tops_of_books, trades_of_messages

LINKS = ((ORDER_SERVICE, RISK_ENGINE), (RISK_ENGINE, MATCHING_ENGINE), (RISK_ENGINE, ORDER_SERVICE),
         (MATCHING_ENGINE, ORDER_SERVICE), (MATCHING_ENGINE, RISK_ENGINE))
NAMES = {ORDER_SERVICE: "order-service", RISK_ENGINE: "risk-engine", MATCHING_ENGINE: "matching-engine"}
LAST, RESTS = 1, 2  # exchange_report.flags
TRADES, GONE = 1, 2  # exchange_report.items
LINKED_HEAD = struct.Struct("<QQI4xHH4x")
ACK_EFFECT = struct.Struct("<QQQQQHH4x")
COMMANDS = set(range(2, 18)) - {BARRIER}


class Report:
    """exchange_report, and its items as they are."""
    _head = struct.Struct("<QQQqQQQqQIIHHBBBB")
    _trade = struct.Struct("<QQQQQqQQQB7x")
    _gone = struct.Struct("<QQqQIB3x")

    def __init__(self, payload):
        (self.client, self.seq, self.order_seq, self.price, self.size, self.filled, self.remaining, self.price_before,
         self.remaining_before, self.symbol, count, self.outcome, self.of_type, self.side, _, flags,
         items) = self._head.unpack_from(payload)
        self.last, self.rests = bool(flags & LAST), bool(flags & RESTS)
        self.is_about_order = not (items == GONE and not self.order_seq)
        self.trades, self.gone = [], []
        for n in range(count):
            if items == TRADES:
                self.trades.append(self._trade.unpack_from(payload, 88 + 80 * n))
            else:
                self.gone.append(self._gone.unpack_from(payload, 88 + 40 * n))


class Books:
    """What the reports of a matching engine add up to, order by order."""

    def __init__(self):
        self.trades, self.parties, self.orders = [], [], {}

    def take(self, report):
        for number, *parties, price, size, left, _, taker_side in report.trades:
            self.trades.append((number, price, size, report.symbol, taker_side))
            self.parties.append(tuple(parties))
            maker = tuple(parties[:2])
            self.orders[maker][3] = left
            if not left:
                del self.orders[maker]
        for client, seq, *_ in report.gone:
            self.orders.pop((client, seq))
        if not report.last or report.outcome != DONE or not report.is_about_order:
            return
        name = (report.client, report.order_seq)
        if report.remaining_before:
            self.orders.pop(name)
        if report.rests:
            self.orders[name] = [report.symbol, report.side, report.price, report.remaining]

    def levels(self):
        levels = {}
        for symbol, side, price, remaining in self.orders.values():
            size, count = levels.get((symbol, side, price), (0, 0))
            levels[symbol, side, price] = (size + remaining, count + 1)
        return levels


def require(good, what):
    if not good:
        raise Wrong(what)


def same(found, expected, what):
    """Two lists, or dictionaries: the first difference is said."""
    if found == expected:
        return
    if isinstance(found, dict):
        found, expected = sorted(found.items()), sorted(expected.items())
    at = next((n for n, (one, other) in enumerate(zip(found, expected)) if one != other), min(len(found), len(expected)))
    raise Wrong(f"{what}: {len(found)} there, {len(expected)} expected; the first difference is number {at}: "
                f"{found[at:at + 1]}, expected {expected[at:at + 1]}")


# ---- while it runs ----

class Answers:
    """What the services say when nothing is under way. clients: those whose money and orders are asked for."""

    def __init__(self, exchange, clients):
        with Wire(exchange.path("accounts")) as wire:
            _, self.anomalies, _, self.orders_count = reconcile(wire)
            self.accounts = {client: Account(wire, client).balances for client in clients}
        with Wire(exchange.path("orders")) as wire:
            self.orders = {(client, seq): order[:4] for client in clients
                           for seq, order in open_orders(wire, client).items()}
        self.market = None
        if "market-data" in exchange.services:
            with MarketWire(exchange.path("market")) as wire:
                number, levels = wire.snapshot()
                messages = [(kind, body) for _, kind, body in wire.request(1, number)] if number else []
            self.market = (messages, levels)


# ---- when it has ended ----

class Journal:
    """Of one service, through all its terms: what it took in, and what it had to say."""

    def __init__(self, exchange, name):
        self.exchange, self.name, self.entries = exchange, name, {}
        for term in exchange.terms[name]:
            self._take(term.directory / "journal")
        same(sorted(self.entries), list(range(1, len(self.entries) + 1)), f"entries of {name}")
        self.effects = self._replay(exchange.service(name))

    def _take(self, directory):
        """Terms overlap: what a standby copied is what the active wrote."""
        done = subprocess.run([self.exchange.bin / "baton", "journal", "dump", directory], check=True,
                              stdout=subprocess.PIPE)
        for line in done.stdout.splitlines():
            row = json.loads(line)
            payload = base64.b64decode(row["payload_base64"]) if "payload_base64" in row else row["payload"].encode()
            entry = (row["type"], payload)
            require(self.entries.setdefault(row["seq"], entry) == entry, f"entry {row['seq']} of {self.name} is two entries")

    def _replay(self, service):
        """By consumer: (seq, index), type, payload."""
        found = collections.defaultdict(list)
        done = subprocess.run(
            [self.exchange.bin / service.program, "baton", "replay", service.directory, "--from-start", "--effects", "-",
             *self.exchange.state_options(self.name)], check=True, stdout=subprocess.PIPE)
        for line in done.stdout.splitlines():
            effect = json.loads(line) if line.startswith(b"{") else {}
            if "payload_hex" in effect:
                found[effect["consumer"]].append(((effect["seq"], effect["index"]), effect["type"],
                                                  bytes.fromhex(effect["payload_hex"])))
        return found

    def taken_from(self, source):
        """What came over the link, each once: (seq, index), type, payload. An entry that came again was dropped."""
        found = []
        for _, (kind, payload) in sorted(self.entries.items()):
            if kind != LINKED:
                continue
            _, seq, index, of, effect_type = LINKED_HEAD.unpack_from(payload)
            if of == source and (not found or (seq, index) > found[-1][0]):
                found.append(((seq, index), effect_type, payload[LINKED_HEAD.size:]))
        return found

    def sent(self):
        """{(client, client seq): [entry, ...]} of what clients sent."""
        found = collections.defaultdict(list)
        for seq, (kind, payload) in sorted(self.entries.items()):
            if kind in COMMANDS and len(payload) >= 16:
                found[struct.unpack_from("<QQ", payload)].append(seq)
        return found

    def commands(self):
        """{(client, client seq): entry} of what clients sent; each stands there once."""
        found = {}
        for name, seqs in self.sent().items():
            require(len(seqs) == 1, f"command {name} stands twice in the journal of {self.name}")
            found[name] = seqs[0]
        return found


class Verdict:
    """On what an exchange that has ended leaves behind, and on what it answered before."""

    def __init__(self, exchange, loads, answers):
        self.exchange, self.answers = exchange, answers
        self.acks = [row for load in loads for row in judge.read_acks(load.acks) if row["acked_ns"] or not load.stopped]
        self.journals = {number: Journal(exchange, name) for number, name in NAMES.items()}
        self.books = Books()
        self.reports = [Report(payload) for _, kind, payload in
                        self.journals[MATCHING_ENGINE].effects[ORDER_SERVICE] if kind == REPORT]
        for report in self.reports:
            self.books.take(report)

    def parts(self):
        """What is looked at, by name; each raises Wrong."""
        return {"journals": self._verify, "links": self._links, "acks": self._acks, "fills": self._fills,
                "orders": self._orders,
                "money": self._money, "settlement": self._settlement, "market data": self._market}

    def judge(self):
        """Raises Wrong with the first thing that is wrong; else says how much was looked at."""
        for look in self.parts().values():
            look()
        return self.size()

    def size(self):
        return {"acked": len(self.acks), "trades": len(self.books.trades), "open": len(self.books.orders),
                "entries": {journal.name: len(journal.entries) for journal in self.journals.values()},
                "messages": len(self.answers.market[0]) if self.answers.market else 0}

    def _verify(self):
        for name in STATEFUL:
            directories = [term.directory for term in self.exchange.terms[name]]
            done = subprocess.run([self.exchange.bin / "baton", "journal", "verify", *directories], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
            require(done.returncode == 0, f"baton journal verify, {name}: {done.stdout.strip()}")

    def _links(self):
        for producer, consumer in LINKS:
            same(self.journals[consumer].taken_from(producer), self.journals[producer].effects[consumer],
                 f"effects of {NAMES[producer]} in the journal of {NAMES[consumer]}")

    def _acks(self):
        """Who was told something finds it in the journals, once; and every command has one outcome."""
        orders = self.journals[ORDER_SERVICE]
        commands, outcomes = orders.commands(), {}

        def add(name, *outcome):
            require(name not in outcomes, f"command {name} has two outcomes: {outcomes.get(name)} and {outcome}")
            outcomes[name] = outcome
        for report in self.reports:
            if report.last and report.is_about_order:
                add((report.client, report.seq), report.of_type, report.outcome, report.filled, report.remaining)
        for _, kind, payload in self.journals[RISK_ENGINE].effects[ORDER_SERVICE]:
            if kind == REPORT:
                report = Report(payload)
                add((report.client, report.seq), report.of_type, report.outcome, report.filled, report.remaining)
        for _, _, payload in orders.effects[NOBODY]:
            if len(payload) == ACK_EFFECT.size:
                client, client_seq, _, filled, remaining, outcome, of_type = ACK_EFFECT.unpack(payload)
                add((client, client_seq), of_type, outcome, filled, remaining)
        same(sorted(outcomes), sorted(commands), "commands with an outcome")
        for row in self.acks:
            name = (row["client"], row["client_seq"])
            require(row["acked_ns"], f"command {name} has no answer")
            if row["outcome"] == judge.NO_ROOM:
                require(name not in commands, f"command {name} was refused for want of room, and taken in")
                continue
            told = (row["seq"], row["type"], row["outcome"], row["filled"], row["remaining"])
            known = (commands.get(name), *outcomes.get(name, ()))
            require(told == known, f"command {name}: the client was told {told}, the journals say {known}")

    def _fills(self):
        """A FILL may be missing (its bytes died with a process), but never tell of what did not trade."""
        traded = collections.Counter()
        for (_, _, size, _, _), (*maker, taker, taker_seq) in zip(self.books.trades, self.books.parties):
            traded["made", *maker] += size
            traded["taken", taker, taker_seq] += size
        for row in self.acks:
            for side in ("made", "taken"):
                name = (side, row["client"], row["client_seq"])
                require(row[side] <= traded[name], f"order {name[1:]}: fills tell of {row[side]} {side}, traded {traded[name]}")

    def _orders(self):
        same(self.answers.orders, {name: tuple(order) for name, order in self.books.orders.items()},
             "open orders of the order service, beside those in the book")
        require(self.answers.orders_count == len(self.books.orders),
                f"the risk engine knows {self.answers.orders_count} open orders, the book {len(self.books.orders)}")

    def _money(self):
        require(self.answers.anomalies == 0, f"RECONCILE says {self.answers.anomalies} anomalies")
        paid_in, has = collections.Counter(), collections.Counter()
        for (_, asset), amount in self.exchange.paid_in.items():
            paid_in[asset] += amount
        for balances in self.answers.accounts.values():
            for asset, (available, held) in balances.items():
                has[asset] += available + held
        require(has == paid_in, f"there is {dict(has)}, paid in was {dict(paid_in)}")
        if all(pair.split("/")[2] == "1" for pair in self.exchange.pairs):
            self._money_of_each()

    def _money_of_each(self):
        """Without rounding it can be said beforehand: what each must own, and what its open orders must hold."""
        pairs = [tuple(int(part) for part in pair.split("/")[:2]) for pair in self.exchange.pairs]
        owns, holds = collections.Counter(self.exchange.paid_in), collections.Counter()
        for (_, price, size, symbol, taker_side), (maker, _, taker, _) in zip(self.books.trades, self.books.parties):
            base, quote = pairs[symbol]
            buyer, seller = (taker, maker) if taker_side == BUY else (maker, taker)
            owns[buyer, base] += size
            owns[buyer, quote] -= price * size
            owns[seller, base] -= size
            owns[seller, quote] += price * size
        for (client, _), (symbol, side, price, remaining) in self.books.orders.items():
            base, quote = pairs[symbol]
            holds[client, base if side == SELL else quote] += remaining if side == SELL else price * remaining
        rows = {(client, asset): row for client, balances in self.answers.accounts.items() for asset, row in balances.items()}
        same({name: sum(row) for name, row in rows.items() if sum(row)}, {name: n for name, n in owns.items() if n},
             "what clients own")
        same({name: held for name, (_, held) in rows.items() if held}, {name: n for name, n in holds.items() if n},
             "what is held for clients")

    def _settlement(self):
        if "settlement" not in self.exchange.services:
            return
        file = sqlite3.connect(self.exchange.database)
        rows = file.execute("SELECT trade_id, price, size, symbol, taker_side, maker_client, maker_seq, taker_client, "
                            "taker_seq FROM trades ORDER BY trade_id").fetchall()
        file.close()
        same(rows, [(*trade, *parties) for trade, parties in zip(self.books.trades, self.books.parties)],
             "trades of settlement")

    def _market(self):
        if self.answers.market is None:
            return
        messages, levels = self.answers.market
        done = subprocess.run([self.exchange.bin / "baton", "journal", "verify", self.exchange.stream],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        require(done.returncode == 0, f"baton journal verify, market data: {done.stdout.strip()}")
        same(trades_of_messages(messages), self.books.trades, "trades of market data")
        told, tops = books_of_messages(messages)
        same(told, self.books.levels(), "prices of market data")
        same(levels, told, "the snapshot of market data")
        same({symbol: top for symbol, top in tops.items() if top[1] or top[3]}, tops_of_books(told), "tops of market data")


def judge_listener(listener, answers):
    """Whoever listened, and lost packets, has the whole stream, word for word."""
    require(not listener.wrong, f"a number of the stream says two things: {listener.wrong[:1]}")
    require(len(listener.streams) <= 1, f"the stream has had {len(listener.streams)} names")
    same(listener.messages(), [list(message) for message in answers.market[0]], "messages that a listener has")


def judge_summaries(loads, summaries):
    for load, summary in zip(loads, summaries):
        require((load.stopped or summary["acked"] == summary["commands"]) and not summary["conflicts"]
                and summary["refused"] == summary["no_room"], f"the clients were told: {json.dumps(summary)}")


def ask_all(exchange, loads, listener=None):
    """When the loads have ended and all services run: what the services answer, and the loads' summaries."""
    summaries = [load.finish() for load in loads]
    exchange.settle()
    clients = {row["client"] for load in loads for row in judge.read_acks(load.acks)}
    answers = Answers(exchange, sorted(clients | {client for client, _ in exchange.paid_in}))
    if listener:
        wait_until(lambda: listener.whole > len(answers.market[0]), "the listener to have the whole stream")
        judge_listener(listener, answers)
    return answers, summaries


def judge_exchange(exchange, loads, listener=None):
    """When the loads have ended and all services run: settles, asks, stops the exchange, and judges. What it found."""
    answers, summaries = ask_all(exchange, loads, listener)
    judge_summaries(loads, summaries)
    exchange.stop()
    found = Verdict(exchange, loads, answers).judge()
    return {**found, "resent": sum(summary["resent"] for summary in summaries),
            "fills_told": sum(summary["fills"] for summary in summaries)}
