"""A full disk under each of the exchange's three stateful services, one after another, under load: what was taken in waits, new
commands are refused, whoever asks is answered, nothing is lost, and all goes on when there is room, also after a kill."""
import os
import re

import exchange_judge
import places
from exchange import STATEFUL, Exchange
from exchange_wire import Account, Wire, open_orders
from market import Listener
from processes import Processes
from service_client import order
from workdir import TestCase, main, seed, wait_until

CLIENTS = 16
RATE = 1500
STRANGER = CLIENTS + 1  # has no money: its orders leave no trace but their answers
FEW = 30  # commands at the gateway
OPTIONS = {name: ["--segment-size", "1MiB"] for name in STATEFUL}


class Full(TestCase):
    strangers_seq = 0

    def place(self, work):
        """An ext4 of its own, or a skip."""
        found, _ = places.open_places(["ext4"], work, self.skipTest)
        self.addCleanup(found[0].close)
        return found[0]

    def start(self):
        """Each stateful service on a disk of its own."""
        work = self.workdir()
        self.disks = {}
        for name in STATEFUL:
            (work / f"disk-{name}").mkdir()
            self.disks[name] = self.place(work / f"disk-{name}")
        processes = Processes()
        self.addCleanup(processes.end_all)
        exchange = Exchange(processes, os.environ["BATON_BIN"], work / "exchange", options=OPTIONS, patience=1)
        self.addCleanup(exchange.close)
        for name in STATEFUL:
            exchange.service(name).directory = self.disks[name].directory / "data"
        exchange.start()
        exchange.deposit({client: {1: 10**9, 2: 10**15} for client in range(1, CLIENTS + 1)})
        return exchange

    def assert_answers(self, exchange):
        """Whoever asks is answered while commands wait."""
        with Wire(exchange.path("orders")) as wire:
            self.assertTrue(any(open_orders(wire, client) for client in range(1, CLIENTS + 1)))
        with Wire(exchange.path("accounts")) as wire:
            self.assertTrue(Account(wire, 1).balances)

    def test_new_commands_are_refused_while_a_disk_is_full_and_nothing_is_lost(self):
        exchange = self.start()
        number = seed()
        listener = Listener(exchange.group, exchange.path("market"), lose=0.05, seed=number)
        self.addCleanup(listener.close)
        load = exchange.load("load", ["--orders", 100 * RATE, "--rate", RATE, "--clients", CLIENTS, "--seed", number])
        for name in reversed(STATEFUL):
            service, disk = exchange.service(name), self.disks[name]
            before = service.status()["seq"]
            wait_until(lambda: service.status()["seq"] > before + 100, "the load to go on")
            said = len(service.said())
            disk.fill()
            wait_until(lambda: "journal.no_space" in service.said()[said:], f"{name} to say that its disk is full")
            self.assert_refused(exchange)
            self.assertTrue(load.running())
            self.assert_answers(exchange)
            if name == "risk-engine":
                service.kill()
            disk.make_room()
            if not service.running():
                service.start()
            full = service.status()["seq"]
            wait_until(lambda: service.status()["seq"] > full + 100, f"{name} to go on")
        wait_until(lambda: exchange.gateways[0].status()["open"] < FEW, "commands to wait no more")
        load.stop()
        exchange_judge.judge_exchange(exchange, [load], listener)

    def assert_refused(self, exchange):
        """New commands are, after a while. The load's clients may have so many open that they send none."""
        before = self.refused(exchange)
        with Wire(exchange.path("orders")) as wire:
            def one_more():
                self.strangers_seq += 1
                wire.send(order(STRANGER, self.strangers_seq))
                return self.refused(exchange) > before
            wait_until(one_more, "new commands to be refused", interval=0.05)

    @staticmethod
    def refused(exchange):
        """Commands, for want of room, so far."""
        metrics = exchange.service("order-service").ask("metrics")["metrics"]
        return int(re.search(r"^exchange_no_room_total (\d+)", metrics, re.MULTILINE)[1])


if __name__ == "__main__":
    main()
