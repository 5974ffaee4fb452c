"""A consistent cut of the three services by their real programs: taken beside them, restored, reconciled to the unit."""
import contextlib
import json
import signal
import sqlite3
import struct

import exchange_judge
import process
from cli_case import flip
from exchange_case import BASE, QUOTE, ExchangeCase, Flow
from exchange_stage import barrier
from exchange_whole_test import WholeCase
from exchange_wire import ORDERS, QUERY
from service_client import DONE, cancel, frame
from workdir import main, wait_until

CUT, SETTLEMENT = process.program("exchange-cut"), process.program("settlement")
NAMES = {"orders": "order-service", "risk": "risk-engine", "matching": "matching-engine"}
CLIENTS, PAID_IN = (1, 2, 3, 4), {BASE: 1000, QUOTE: 100000}


class Kept(Flow):
    """Remembers every command, to send it again."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.sent = {}

    def command(self, client):
        made = super().command(client)
        self.sent[client, self.seqs[client]] = made
        return made


class CutCase(ExchangeCase):
    def data_options(self, name):
        return {"orders": (), "risk": ("--pairs", self.pairs), "matching": ("--outbox", self.outbox)}[name]

    def parts(self):
        words = []
        for name in NAMES:
            words += ["--", self.programs[name], self.children[name].directory, *self.data_options(name)]
        return words[1:]

    def take(self, name, *options, check=0):
        return self.run_cut("take", "--orders", self.paths["orders"], "--out", self.root / name, *options, *self.parts(),
                            check=check)

    def run_cut(self, *words, check=0):
        return process.run(CUT, *words, check=check)

    def begin(self):
        self.start_all()
        client = self.client()
        for number in CLIENTS:
            for asset, amount in PAID_IN.items():
                self.deposit(client, number, asset, amount)
        client.close()
        return Kept(self, 1, CLIENTS)

    def under_way(self, name):
        return self.status_of(self.directories[name])["outbox"]["effects"]

    def kept_effects(self, name, service):
        told = self.baton("snapshot", "info", self.root / name / service, "-o", "json", check=0).json()
        return next(one["rows"] for one in told["section_list"] if one["name"] == "baton.outbox")

    def kill_all(self):
        for child in self.children.values():
            child.kill()

    def restore(self, name):
        to = self.root / f"restored-{name}"
        cut = self.run_cut("restore", self.root / name, "--to", to, "-o", "json").json()
        for short, part in zip(NAMES, cut["services"]):
            self.directories[short] = to / part["service"]
            child = self.start(short, self.directories[short], "--trust-root", part["root"])
            self.children[short] = child
            self.wait_phase(child, "running")
        return cut

    def expect_all_accounted_for(self, connection, seqs):
        """Every open order is in the book with the rest that the order service says; without any, nothing is held, and
        everybody together has what was paid in."""
        for number in CLIENTS:
            for seq, _, size, filled, _ in self.open_orders(connection, number):
                seqs[number] += 1
                ack = connection.ack(cancel(number, seqs[number], seq))
                self.assertEqual((ack.outcome, ack.remaining), (DONE, size - filled))
        wait_until(lambda: all(held == 0 for number in CLIENTS for _, held in self.account(number)[0].values()),
                   "nothing to be held")
        for asset, amount in PAID_IN.items():
            self.assertEqual(sum(self.account(number)[0][asset][0] for number in CLIENTS), amount * len(CLIENTS))
        self.run_cut("reconcile", "--accounts", self.paths["accounts"])


class Restore(CutCase):
    outbox = "order-service,risk-engine,settlement"

    def settles(self):
        child = self.spawn(SETTLEMENT, "--db", self.root / "settlement.db", "--from", self.paths["reports"])
        child.wait_for("settlement.ready", "stderr")
        return child

    def rows(self, statement, *values):
        with contextlib.closing(sqlite3.connect(self.root / "settlement.db")) as file, file:
            return file.execute(statement, values).fetchall()

    def wait_settled(self):
        """Its trades are what the risk engine's positions come of."""
        sums = "SELECT ifnull(sum(CASE side WHEN 0 THEN size ELSE -size END), 0) FROM fills WHERE client = ?"
        wait_until(lambda: all(self.rows(sums, number)[0][0] == self.account(number)[1][0] for number in CLIENTS),
                   "positions and settled trades to be the same")

    def take_back_what_never_happened(self, part):
        self.assertGreater(self.rows("SELECT seq FROM reached")[0][0], part["seq"])
        self.rows("DELETE FROM trades WHERE seq > ?", part["seq"])
        self.rows("UPDATE reached SET epoch = ?, seq = ?, part = 4294967295 WHERE source = 'matching-engine' AND seq > ?",
                  part["epoch"], part["seq"], part["seq"])

    def test_a_restored_cut_finishes_what_was_under_way_once_and_goes_on_trading(self):
        flow = self.begin()
        settlement = self.settles()
        flow.send(60)
        flow.take(0)
        # The book stands still: what comes now has passed the risk engine when the barrier does, and is under way
        # when the barrier has passed the book.
        self.children["matching"].send(signal.SIGSTOP)
        flow.send(40)
        flow.connection.send(barrier(5), frame(QUERY, struct.pack("<QQQ", 1, 1, 0)))
        while flow.take_one() != ORDERS:  # then the barrier has been taken, too
            pass
        wait_until(lambda: self.under_way("orders") == 0, "the barrier to pass the risk engine")
        at_cut, sent = dict(flow.seqs), dict(flow.sent)
        self.children["matching"].send(signal.SIGCONT)
        flow.take(0)
        answered = dict(flow.answered)
        cut = self.take("cut", "--id", "5", "-o", "json").json()
        self.assertGreater(self.kept_effects("cut", "matching-engine"), 40)
        flow.send(60)
        flow.take(0)
        flow.connection.close()
        self.wait_settled()
        self.assertEqual(settlement.terminate(), 0)
        self.run_cut("verify", self.root / "cut", "--load")
        self.kill_all()

        self.restore("cut")
        self.assertGreater(self.status_of(self.directories["matching"])["epoch"], 1 << 32)
        flow.seqs, flow.unanswered, flow.answered = at_cut, dict(sent), answered
        flow.again()  # each has the answer that it had
        flow.take(0)
        self.run_cut("reconcile", "--accounts", self.paths["accounts"])
        flow.send(60)
        flow.take(0)
        settlement = self.settles()
        self.assertEqual(settlement.wait(), 1)
        self.assertIn("gone back behind what it had released", settlement.err())
        self.take_back_what_never_happened(cut["services"][2])
        settlement = self.settles()
        self.wait_settled()
        self.expect_all_accounted_for(flow.connection, flow.seqs)
        self.assertEqual(settlement.terminate(), 0)


class Faults(CutCase):
    def test_a_cut_is_taken_though_each_of_the_three_is_killed_while_the_barrier_is_under_way(self):
        flow = self.begin()
        self.children["matching"].send(signal.SIGSTOP)
        flow.send(40)
        self.refuse(self.take("late", "--wait", "1", check=None), "no answer in 1 s")
        taking = self.spawn(CUT, "take", "--orders", self.paths["orders"], "--out", self.root / "cut", *self.parts())
        for name in ("risk", "orders", "matching"):
            self.children[name].kill()
            self.start(name)
        flow.again()
        flow.take(0)
        self.assertEqual(taking.wait(), 0, taking.err())
        told = self.run_cut("verify", "--load", self.root / "cut", "-o", "json").json()
        self.assertGreater(told["id"], 1 << 40)
        flow.send(20)
        flow.take(0)
        self.assertEqual(self.anomalies(), 0)

    def test_a_cut_is_taken_though_the_order_service_is_handed_over_while_the_barrier_is_under_way(self):
        flow = self.begin()
        old, risk = self.children["orders"], self.directories["risk"]
        self.children["matching"].send(signal.SIGSTOP)
        words, before = self.parts(), self.status_of(risk)["durable_seq"]
        taking = self.spawn(CUT, "take", "--orders", self.paths["orders"], "--out", self.root / "cut", *words)
        wait_until(lambda: self.status_of(risk)["durable_seq"] > before, "the barrier to be under way")
        new = self.start("orders", self.other, "--standby-of", old.directory)
        self.wait_level(new, old.directory)
        self.handover(old.directory, "--wait", "--max-gap", "30s", check=0)
        self.assertEqual(old.wait(), 0)
        self.children["matching"].send(signal.SIGCONT)
        self.assertEqual(taking.wait(), 0, taking.err())
        flow.send(20)
        flow.take(0)
        self.run_cut("verify", self.root / "cut")

    def refuse(self, result, text):
        self.assertEqual(result.status, 1, result)
        self.assertIn(text, result.stderr)
        self.assertTrue(result.stderr.startswith("baton: "), result.stderr)
        self.assertEqual(list(self.root.glob("**/*.partial")), [])

    def test_what_is_not_a_whole_cut_is_refused_and_leaves_nothing(self):
        self.begin()
        cut, to = self.root / "cut", self.root / "to"
        self.take("cut", "--id", "7")
        self.refuse(self.take("cut", check=None), "it is there already")
        self.refuse(self.take("more", "--id", "6", check=None), "has had 7 already")
        words = self.parts()
        self.refuse(self.run_cut("take", "--orders", self.paths["orders"], "--out", self.root / "more", *words[:3],
                                 check=None), "see --help")
        self.directories["orders"], self.children["orders"].directory = None, self.directories["risk"]
        self.refuse(self.take("more", check=None), "did not end well")
        self.assertFalse((self.root / "more").exists())
        self.refuse(self.run_cut("verify", self.root, check=None), "cut.json")
        (to / "risk-engine").mkdir(parents=True)
        self.refuse(self.run_cut("restore", cut, "--to", to, check=None), "it is there already")
        flip(next(cut.glob("risk-engine/*.chunks")), 10)
        for words in (("verify", cut), ("restore", cut, "--to", self.root / "new")):
            self.refuse(self.run_cut(*words, check=None), ".chunks")
        flip(next(cut.glob("risk-engine/*.chunks")), 10)
        self.run_cut("verify", cut)
        text = (cut / "cut.json").read_text()
        root = json.loads(text)["services"][1]["root"]
        (cut / "cut.json").write_text(text.replace(root, root[::-1]))
        self.refuse(self.run_cut("restore", cut, "--to", self.root / "new", check=None), "is not the one of cut.json")
        self.assertIn("Examples:", self.run_cut("--help").stdout)


class Handover(WholeCase):
    def take(self, exchange):
        words = []
        for name in NAMES.values():
            service = exchange.service(name)
            words += ["--", service.command()[0], service.directory, *self.data_options(exchange, name)]
        return process.run(CUT, "take", "--orders", exchange.address("orders"), "--out", exchange.directory / "cut", "-o", "json",
                           *words[1:], check=0).json()["services"]

    @staticmethod
    def data_options(exchange, name):
        return {"order-service": [], "risk-engine": ["--pairs", ",".join(exchange.pairs)],
                "matching-engine": exchange.state_options("matching-engine")}[name]

    def state_at(self, exchange, term, part):
        """What a directory's own program says that its state was."""
        return process.run(term.command()[0], "baton", "digest", term.directory, "--to", part["seq"], "--digest-schema",
                           part["schema"], *self.data_options(exchange, part["service"]), check=0).stdout.strip()

    @staticmethod
    def wait_more(exchange):
        matching = exchange.service("matching-engine")
        seq = matching.status()["seq"]
        wait_until(lambda: matching.status()["seq"] > seq + 50, "the load to go on")

    def test_all_three_are_replaced_with_a_consistent_cut_and_clients_see_only_latency(self):
        exchange = self.exchange(programs={"matching-engine": "matching-engine-1.0.0"})
        new = {"matching-engine": "matching-engine-1.1.0"}
        standbys = {name: exchange.standby(name, new.get(name)) for name in NAMES.values()}
        load = self.load(exchange, 60000, 500)
        self.wait_more(exchange)
        parts = self.take(exchange)
        for name, standby in standbys.items():
            exchange.cut_over(name, standby)
            self.wait_more(exchange)
        load.stop()
        told = load.finish()
        self.assertEqual([told[word] for word in ("connections", "resent", "conflicts", "unacked")], [1, 0, 0, 0])
        exchange_judge.judge_exchange(exchange, [load])
        for part in parts:
            self.assertEqual([self.state_at(exchange, term, part) for term in exchange.terms[part["service"]]],
                             [part["state_digest"]] * 2, part)


if __name__ == "__main__":
    main()
