"""What the tests of the order service, the risk engine and the gateway share: which programs run, and who stands behind them.
Where the whole exchange runs, it is started by scripts/rig/exchange.py."""
import random
import struct

import process
from exchange_stage import ADMIN, Passing, Stage
from exchange_wire import ACK, BUY, DEPOSIT, DONE, ORDERS, QUERY, SELL, Account, Wire, frame, reconcile, transfer
from handover_case import ENGINE_NEW, HandoverCase
from service_client import GTC, IOC, Ack, Client, cancel, order, replace
from workdir import wait_until

ORDERS_PROGRAM, RISK_PROGRAM = process.program("order-service"), process.program("risk-engine")
BASE, QUOTE = 1, 2
PATIENT = ("--patience", "600")  # a busy machine is no full disk


def query(client, number, order_seq=0, after_seq=0):
    """[(client, seq, price, size, filled, remaining, expire_ns, symbol, status, side, ...)], and whether there are more."""
    client.send(frame(QUERY, struct.pack("<QQQ", number, order_seq, after_seq)))
    body = client.receive_of(ORDERS)
    count, more = struct.unpack_from("<II", body, 24)
    assert len(body) == 32 + 72 * count, body
    return [struct.unpack_from("<QQqQQQQIBBBBB7x", body, 32 + 72 * n) for n in range(count)], more


class OrdersCase(HandoverCase):
    """The order service; the services behind it are a stage."""

    def setUp(self):
        super().setUp()
        self.orders, self.feed = self.socket_path("orders"), self.socket_path("feed")
        self.stage = Stage(self, self.feed)

    def run_service(self, directory=None, *options, standby_of=None):
        return self.run_program(ORDERS_PROGRAM, directory or self.data, "--listen", f"unix:{self.orders}", "--feed",
                                f"unix:{self.feed}", *self.behind(), *(options if "--patience" in options else PATIENT + options),
                                standby_of=standby_of)

    def behind(self):
        return self.stage.options()

    def service_runs(self, *options):
        return self.wait_running(self.run_service(None, *options))

    def client(self):
        return Client(self, f"unix:{self.orders}")

    def ack_from(self, client, seq):
        """The first ACK of this command or a later one: then all before it have been taken, too. An older one may come
        twice: as the answer to a resend, and with its report."""
        while True:
            ack = client.ack()
            self.assertEqual(ack.outcome, DONE)
            if ack.client_seq >= seq:
                return ack.client_seq

    def states(self, client, number, order_seq=0, after_seq=0):
        """(seq, status, filled, remaining) of each, and whether there are more."""
        found, more = query(client, number, order_seq, after_seq)
        for one in found:
            self.assertEqual(one[0], number)
        return [(one[1], one[8], one[4], one[5]) for one in found], more


class MatchingCase(OrdersCase):
    """Before the real matching engine; the risk engine between the two is a stage that lets everything through."""

    def setUp(self):
        HandoverCase.setUp(self)
        self.orders, self.feed, self.reports = map(self.socket_path, ("orders", "feed", "reports"))
        self.direct = self.socket_path("direct")
        self.passing = Passing(self, self.feed)

    def behind(self):
        return "--matching", f"unix:{self.reports}"

    def engine_runs(self):
        return self.wait_running(self.run_program(
            ENGINE_NEW, self.other, "--listen", f"unix:{self.direct}", "--feed", f"unix:{self.reports}", "--risk",
            f"unix:{self.passing.producer.path}", "--outbox", "order-service"))


class ExchangeCase(HandoverCase):
    """Three services; self.pairs is the risk engine's --pairs, and self.risk_options is what else it is given."""

    pairs = f"{BASE}/{QUOTE}/1"
    risk_options = ()
    outbox = "order-service,risk-engine"  # the matching engine's

    def setUp(self):
        super().setUp()
        self.paths = {name: f"unix:{self.socket_path(name)}" for name in
                      ("orders", "commands", "accounts", "checked", "direct", "reports")}
        self.programs = {"orders": ORDERS_PROGRAM, "risk": RISK_PROGRAM, "matching": ENGINE_NEW}
        self.directories = {name: self.root / name for name in self.programs}
        self.children = {}
        self.admin_seq = 0

    def start(self, name, directory=None, *more):
        at = self.paths
        options = {
            "orders": ("--listen", at["orders"], "--feed", at["commands"], "--risk", at["checked"], "--matching",
                       at["reports"], *PATIENT),
            "risk": ("--listen", at["accounts"], "--feed", at["checked"], "--orders", at["commands"], "--matching",
                     at["reports"], "--pairs", self.pairs, *self.risk_options),
            "matching": ("--listen", at["direct"], "--feed", at["reports"], "--risk", at["checked"], "--outbox",
                         self.outbox),
        }[name]
        child = self.run_program(self.programs[name], directory or self.directories[name], *options, *more)
        if not more:
            self.children[name] = self.wait_running(child)
        return child

    def start_all(self):
        for name in self.programs:
            self.start(name)

    def client(self):
        return Client(self, self.paths["orders"])

    def admin(self, client, make, *arguments):
        self.admin_seq += 1
        return client.ack(make(self.admin_seq, *arguments)).outcome

    def deposit(self, client, account, asset, amount):
        self.assertEqual(self.admin(client, lambda seq: transfer(DEPOSIT, ADMIN, seq, account, asset, amount)), DONE)

    def accounts(self):
        """The risk engine's own socket."""
        return Wire(self.paths["accounts"].removeprefix("unix:"))

    def account_of(self, number):
        with self.accounts() as wire:
            return Account(wire, number)

    def account(self, number):
        """{asset: (available, held)}, and the exposure in symbol 0 or None."""
        found = self.account_of(number)
        return found.balances, tuple(found.exposures[0][:4]) if 0 in found.exposures else None

    def wait_account(self, number, expected):
        """The risk engine may be behind the order service."""
        wait_until(lambda: self.account(number)[0] == expected, f"{number} to have {expected}")

    def anomalies(self):
        with self.accounts() as wire:
            return reconcile(wire)[1]

    def open_orders(self, client, number):
        """[(seq, price, size, filled, side)]"""
        found, more = [], 1
        while more:
            page, more = query(client, number, 0, found[-1][0] if found else 0)
            found += [(one[1], *one[2:5], one[9]) for one in page]
        return found


class Flow:
    """Random commands of some clients over one connection; each is sent until it has its answer."""

    def __init__(self, case, seed, clients):
        self.case, self.random, self.clients = case, random.Random(seed), clients
        self.unanswered, self.answered = {}, {}
        self.seqs = dict.fromkeys(clients, 0)
        self.connection = case.client()

    def command(self, client):
        self.seqs[client] += 1
        seq, about = self.seqs[client], self.random.randint(max(1, self.seqs[client] - 12), self.seqs[client])
        kind = self.random.random()
        if kind < 0.65:
            return order(client, seq, price=self.random.randint(95, 105), size=self.random.randint(1, 20),
                         side=self.random.choice((BUY, SELL)), time_in_force=self.random.choice((GTC, GTC, GTC, IOC)))
        if kind < 0.8:
            return cancel(client, seq, about)
        return replace(client, seq, about, self.random.randint(95, 105), self.random.randint(0, 25))

    def send(self, count):
        frames = []
        for _ in range(count):
            client = self.random.choice(self.clients)
            made = self.command(client)
            self.unanswered[client, self.seqs[client]] = made
            frames.append(made)
        self.connection.send(*frames)

    def take(self, until):
        """Answers, until no more than that many are missing. Each is the same however often it comes."""
        while len(self.unanswered) > until:
            self.take_one()

    def take_one(self):
        kind, body = self.connection.receive()
        if kind == ACK:
            ack = Ack(body)
            name = (ack.client, ack.client_seq)
            self.case.assertEqual(self.answered.setdefault(name, ack.body[24:]), ack.body[24:], name)
            self.unanswered.pop(name, None)
        return kind

    def again(self):
        """As clients do that have lost their connection."""
        self.connection.close()
        self.connection = self.case.client()
        self.connection.send(*[self.unanswered[name] for name in sorted(self.unanswered)])
