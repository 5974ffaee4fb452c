"""The whole exchange by its real programs: whoever is killed or replaced under load, every order, trade and unit of money is
where it must be, once. The rig is scripts/rig/exchange.py, the judge exchange_judge.py."""
import os
import sqlite3

import exchange_judge
from campaign import Wrong
from exchange import STATEFUL, Exchange
from exchange_wire import ORDER_SERVICE, RISK_ENGINE
from market import Listener
from processes import Processes
from workdir import TestCase, main, seed, wait_until

CLIENTS = 32
MONEY = {1: 10**9, 2: 10**15}
POOR = {1: 40, 2: 10**8}  # some orders are refused


class WholeCase(TestCase):
    def exchange(self, **options):
        """Started, and its clients have paid in."""
        processes = Processes()
        self.addCleanup(processes.end_all)
        self.seed = seed()
        exchange = Exchange(processes, os.environ["BATON_BIN"], self.workdir(), **options)
        self.addCleanup(exchange.close)
        exchange.start()
        exchange.deposit({client: POOR if client % 8 == 0 else MONEY for client in range(1, CLIENTS + 1)})
        return exchange

    def load(self, exchange, count, rate):
        return exchange.load("load", ["--orders", count, "--rate", rate, "--clients", CLIENTS, "--seed", self.seed])


class Whole(WholeCase):
    def wait_entries(self, exchange, load, count):
        """A busy machine may be slower than its load."""
        orders = exchange.service("order-service")
        seq = orders.status()["seq"]
        wait_until(lambda: orders.status()["seq"] >= seq + count or not load.running(), "the load to go on")

    def test_whoever_is_killed_under_load_everything_is_there_once(self):
        exchange = self.exchange()
        listener = Listener(exchange.group, exchange.path("market"), lose=0.1, seed=self.seed)
        self.addCleanup(listener.close)
        load = self.load(exchange, 3000, 1500)
        for name in ("order-service", "risk-engine", "matching-engine", "gateway", "settlement", "market-data"):
            self.wait_entries(exchange, load, 200)
            exchange.service(name).restart()
        found = exchange_judge.judge_exchange(exchange, [load], listener)
        self.assertEqual(found["acked"], 3000)
        self.assertGreater(found["trades"], 100)

    def test_each_stateful_service_is_replaced_under_load_and_clients_stay_connected(self):
        exchange = self.exchange()
        load = self.load(exchange, 2000, 1000)
        for name in ("matching-engine", "risk-engine", "order-service"):
            self.wait_entries(exchange, load, 200)
            exchange.handover(name)
        self.assertEqual(load.finish()["connections"], 1)
        exchange_judge.judge_exchange(exchange, [load])

    def test_two_instances_of_a_service_take_turns_under_load(self):
        exchange = self.exchange(options={name: ["--after-handover", "standby"] for name in STATEFUL})
        load = self.load(exchange, 4000, 1000)
        for name in STATEFUL:
            one, other = exchange.service(name), exchange.standby(name)
            for _ in range(4):
                self.wait_entries(exchange, load, 50)
                other.wait_level(one)
                exchange.cut_over(name, other, stays=True)
                one, other = other, one
        self.assertEqual(load.finish()["connections"], 1)
        exchange_judge.judge_exchange(exchange, [load])


class Judge(WholeCase):
    """What is planted after a good run is found."""

    def test_the_judge_finds_what_is_wrong(self):
        exchange = self.exchange()
        load = self.load(exchange, 600, 3000)
        answers, summaries = exchange_judge.ask_all(exchange, [load])
        exchange_judge.judge_summaries([load], summaries)
        exchange.stop()
        verdict = exchange_judge.Verdict(exchange, [load], answers)
        verdict.judge()
        done = next(row for row in verdict.acks if row["outcome"] == 0)
        order, client = next(iter(answers.orders)), 1
        entries = verdict.journals[RISK_ENGINE].entries
        last, linked = max(entries.items())
        commands = verdict.journals[ORDER_SERVICE].effects[RISK_ENGINE]
        planted = [
            ("was told", lambda: done.update(filled=done["filled"] + 1), lambda: done.update(filled=done["filled"] - 1)),
            ("was told", lambda: done.update(seq=done["seq"] + 1), lambda: done.update(seq=done["seq"] - 1)),
            ("no answer", lambda: done.update(acked_ns=0), lambda: done.update(acked_ns=1)),
            ("in the journal of risk-engine", lambda: entries.pop(last), lambda: entries.update({last: linked})),
            ("in the journal of risk-engine", lambda: commands.append(commands[-1]), commands.pop),
            ("open orders", lambda: answers.orders.update({(1, 9999): answers.orders[order]}), answers.orders.popitem),
            ("there is", lambda: self.move(answers, client, 1, 0), lambda: self.move(answers, client, -1, 0)),
            ("what is held", lambda: self.move(answers, client, 1, -1), lambda: self.move(answers, client, -1, 1)),
            ("trades of market data", answers.market[0].reverse, answers.market[0].reverse),
            ("trades of settlement", lambda: self.settle(exchange, 1), lambda: self.settle(exchange, -1)),
        ]
        for words, plant, remove in planted:
            with self.subTest(words):
                plant()
                with self.assertRaisesRegex(Wrong, words):
                    verdict.judge()
                remove()
        verdict.judge()

    @staticmethod
    def settle(exchange, size_by):
        file = sqlite3.connect(exchange.database)
        file.execute("UPDATE trades SET size = size + ? WHERE trade_id = 1", (size_by,))
        file.commit()
        file.close()

    @staticmethod
    def move(answers, client, available_by, held_by):
        available, held = answers.accounts[client][2]
        answers.accounts[client][2] = (available + available_by, held + held_by)


if __name__ == "__main__":
    main()
