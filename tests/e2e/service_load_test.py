"""exchange-load by its real program: many connections that come and go, say things twice, read slowly and lose their gateway,
against one matching engine and against the whole exchange. What its clients were told is judged from the journals."""
import collections
import csv
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import xml.etree.ElementTree

import exchange_judge
import judge
import process
from exchange import Exchange
from exchange_stage import Wire
from handover_case import ENGINE_NEW, LOAD, HandoverCase
from processes import Processes
from service_client import ACK, DONE, FILL, HELLO, NEW_ORDER, WELCOME, frame
from workdir import DEADLINE_S, main, seed, wait_until

MIX = "replace=6,market=4,fok=3,post-only=5"


class LoadCase(HandoverCase):
    def setUp(self):
        super().setUp()
        self.seed = seed()

    def finish(self, *options):
        """A load's summary; its exit code must be 0, and each row of its clients' is kept."""
        files = [self.root / name for name in ("load.json", "load.acks", "load.clients")]
        self.hgrm, self.csv, self.svg = (self.root / f"load.{kind}" for kind in ("hgrm", "csv", "svg"))
        child = self.spawn(LOAD, *options, "--seed", self.seed, "--json", files[0], "--acks-out", files[1],
                           "--clients-out", files[2], "--hgrm", self.hgrm, "--timeline", self.csv, "--timeline-svg", self.svg)
        self.during(child)
        status = child.wait()
        told = json.loads(files[0].read_text())
        self.assertEqual(status, 0, (told, child.err()))
        self.assertEqual((told["acked"], told["conflicts"]), (told["commands"], 0), told)
        self.acks = judge.read_acks(files[1])
        with open(files[2]) as file:
            self.clients = [{key: int(value) for key, value in row.items()} for row in csv.DictReader(file)]
        return told

    def during(self, load):
        """What happens while it runs."""

    def timeline(self):
        with open(self.csv) as file:
            return list(csv.DictReader(file))


class Engine(LoadCase):
    """Against a matching engine alone."""

    def engine_runs(self, symbols):
        self.orders, feed = (f"unix:{self.socket_path(name)}" for name in ("orders", "feed"))
        return self.wait_running(self.run_program(ENGINE_NEW, self.data, "--listen", self.orders, "--feed", feed, "--symbols",
                                                  symbols))

    def assert_all_is_in_the_journal_once(self, engine):
        self.assertEqual(engine.terminate(), 0)
        journaled = judge.journaled_commands(process.program("baton"), self.data / "journal")
        self.assertEqual(judge.judge(self.acks, journaled), (0, 0))
        self.assertEqual(len(journaled), len(self.acks))
        self.assertEqual(judge.reordered(journaled), 0)

    def test_fills_add_up_to_what_the_acks_say_client_by_client(self):
        engine = self.engine_runs(3)
        told = self.finish("--connect", self.orders, "--connections", 8, "--orders", 6000, "--rate", 6000, "--symbols", 3,
                           "--mix", MIX)
        self.assertEqual((told["connections"], told["fills_short"], told["fills_over"]), (8, 0, 0))
        self.assertGreater(told["fills"], 1000)
        self.assertEqual([row["filled_by_acks"] for row in self.clients], [row["taken_by_fills"] for row in self.clients])
        self.assertEqual(sum(row["taken_by_fills"] for row in self.clients), sum(row["made_by_fills"] for row in self.clients))
        self.assertEqual(sum(row["acked"] for row in self.clients), 6000)
        self.assert_all_is_in_the_journal_once(engine)
        self.assert_percentiles_are_those_of_the_rows()

    def assert_percentiles_are_those_of_the_rows(self):
        """The .hgrm, and the timeline, against what each command's row says."""
        latencies = sorted(row["acked_ns"] - row["intended_ns"] for row in self.acks)
        levels = []
        for line in self.hgrm.read_text().splitlines()[2:]:
            if line.startswith("#"):
                continue
            value, level, count = (float(word) for word in line.split()[:3])
            exact = latencies[int(count) - 1] / 1000
            self.assertAlmostEqual(value, exact, delta=exact / 1000 + 0.002)
            self.assertGreaterEqual(count / len(latencies), level)
            levels.append(level)
        self.assertEqual((levels[0], levels[-1], levels), (0, 1, sorted(levels)))
        rows = self.timeline()
        for name in ("due", "sent", "acked"):
            self.assertEqual(sum(int(row[name]) for row in rows), len(latencies))
        self.assertEqual(max(float(row["max_us"]) for row in rows if row["max_us"]), round(latencies[-1] / 1000, 1))

    def test_storms_and_resends_change_nothing_but_latency(self):
        engine = self.engine_runs(2)
        told = self.finish("--connect", self.orders, "--connections", 24, "--orders", 6000, "--rate", 4000, "--symbols", 2,
                           "--mix", MIX, "--storm", 0.2, "--resend", 100, "--slow-readers", 3)
        self.assertGreater(told["storms"], 3)
        self.assertGreater(told["connections"], 24 * 3)
        self.assertGreater(told["doubled_told"], 100)
        self.assertGreater(told["slow_acked"], 100)
        self.assertEqual(told["fills_over"], 0)
        self.assert_all_is_in_the_journal_once(engine)

    def test_marks_stand_in_the_timeline_where_they_were_made(self):
        engine, marks = self.engine_runs(1), self.root / "marks"

        def during(load):
            def a_second_passes():
                lines = load.err().count("\n")
                wait_until(lambda: load.err().count("\n") > lines, "the next line of progress")
            for text in ("one, with a comma", "two & more"):
                with open(marks, "a") as file:
                    file.write(f"{text}\n")
                a_second_passes()
            load.send(signal.SIGUSR1)
            a_second_passes()
            engine.send(signal.SIGCONT)
        self.during = during
        engine.send(signal.SIGSTOP)  # so the load does not end before all this is done
        self.finish("--connect", self.orders, "--orders", 500, "--rate", 1000, "--mark-file", marks, "--progress")
        found = {text: float(row["start_s"]) for row in self.timeline() for text in row["events"].split("; ") if text}
        self.assertEqual(set(found), {"mark one, with a comma", "mark two & more", "mark signal 1"})
        self.assertLess(found["mark one, with a comma"], found["mark two & more"])
        picture = xml.etree.ElementTree.parse(self.svg).getroot()
        texts = {text for text in picture.itertext()}
        self.assertLess({"one, with a comma", "two & more", "signal 1", "p50", "p99", "latency (log)", "seconds"}, texts)

    def test_what_does_not_go_together_is_refused_before_anything_is_sent(self):
        for options in ((), ("--virtual-time", "--connections", 2), ("--slow-readers", 2), ("--mix", "cancel=100"),
                        ("--storm", "0"), ("--resend", "1001"), ("--deposit", "0"), ("--deposit", "5:x"), ("--symbols", "0")):
            connect = ("--connect", "unix:/nowhere") if options else ()
            result = process.run(LOAD, *connect, *options)
            self.assertEqual(result.status, 1, options)
            self.assertIn("--help", result.stderr)


class ByHand:
    """A server that answers each command as it is told: answer(number of the connection, client, seq, type, copies so
    far), which returns frames, or None to end the connection."""

    def __init__(self, case, answer):
        self.answer, self.copies, self.connections = answer, collections.Counter(), 0
        self.path = case.socket_path(f"server{id(self)}")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        case.addCleanup(self.close)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(DEADLINE_S)
        self.listener.close()

    def _serve(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            wire = Wire(stream)
            while (got := wire.receive()) is not None and self._take(wire, *got):
                pass
            stream.close()

    def _take(self, wire, kind, body):
        if kind == HELLO:
            wire.send(frame(WELCOME, struct.pack("<IIQ32s", 1, 0, 1, b"by hand")))
            return True
        client, seq = struct.unpack_from("<QQ", body)
        frames = self.answer(self.connections, client, seq, kind, self.copies[seq])
        self.copies[seq] += 1
        wire.send(*(frames or ()))
        return frames is not None


def ack(client, seq, kind, entry=None, filled=0):
    return frame(ACK, struct.pack("<QQQQQHH4x", client, seq, seq if entry is None else entry, filled, 0, DONE, kind))


class Wrong(LoadCase):
    """Before a server that does what none may: the load says so. And one that does what any may: it goes on."""

    def against(self, answer, *options):
        self.server = ByHand(self, answer)
        result = process.run(LOAD, "--connect", f"unix:{self.server.path}", "--orders", 200, "--rate", 2000, "--seed",
                             self.seed, *options)
        told = json.loads(result.stdout)
        self.assertEqual((told["sent"], told["acked"]), (200, 200))
        return result.status, told

    def test_a_command_that_is_applied_twice_is_a_conflict(self):
        status, told = self.against(lambda _, client, seq, kind, copies: [ack(client, seq, kind, entry=seq + 1000 * copies)],
                                    "--resend", 1000)
        self.assertEqual(status, 1)
        self.assertEqual(told["doubled"], 200)
        self.assertGreater(told["conflicts"], 100)  # it does not wait for all second answers

    def test_an_order_that_trades_more_than_its_ack_says_is_found(self):
        for excess in (0, 1):
            orders = []

            def answer(_, client, seq, kind, copies):
                if kind != NEW_ORDER:
                    return [ack(client, seq, kind)]
                orders.append(seq)
                size = 5 + (excess if len(orders) == 7 else 0)
                fill = struct.pack("<QQQqQQBB6x", client, seq, seq, 100, size, 0, 1, 0)
                return [frame(FILL, fill), ack(client, seq, kind, filled=5)]
            status, told = self.against(answer)
            self.assertEqual((status, told["fills"], told["fills_over"], told["fills_short"]),
                             (excess, len(orders), excess, 0))

    def test_an_answer_that_went_to_nobody_is_asked_for_again(self):
        status, told = self.against(lambda _, client, seq, kind, copies: [ack(client, seq, kind)] if seq != 50 or copies
                                    else [], "--ask-again", "0.2")
        self.assertEqual((status, told["conflicts"], told["connections"]), (0, 0, 1))
        self.assertGreaterEqual(told["asked_again"], 1)

    def test_a_slow_reader_that_is_dropped_comes_again_and_asks_again(self):
        status, told = self.against(lambda connection, client, seq, kind, copies: [ack(client, seq, kind)]
                                    if connection > 3 or seq < 60 * connection else None, "--slow-readers", 1)
        self.assertEqual((status, told["conflicts"], told["connections"]), (0, 0, 4))
        self.assertGreaterEqual(told["resent"], 3)
        self.assertEqual((told["slow_acked"], told["p50_us"]), (200, 0))


class Gateways(LoadCase):
    """Against the whole exchange, from an empty directory."""

    def test_a_load_that_pays_in_goes_through_storms_and_loses_a_gateway(self):
        processes = Processes()
        self.addCleanup(processes.end_all)
        exchange = Exchange(processes, os.environ["BATON_BIN"], self.root / "exchange", gateways=2,
                            pairs=("1/2/1", "3/2/1"))
        self.addCleanup(exchange.close)
        exchange.start()
        money = 10**12
        load = exchange.load("load", [
            "--connect", exchange.address("gateway.2"), "--connections", 10, "--admin", exchange.address("orders"),
            "--deposit", f"{money}:1,2,3", "--clients", 20, "--orders", 3000, "--rate", 1500, "--symbols", 2, "--mix", MIX,
            "--resend", 50, "--storm", 0.5, "--slow-readers", 2, "--seed", self.seed])
        exchange.paid_in = {(client, asset): money for client in range(1, 21) for asset in (1, 2, 3)}
        lost = exchange.service("gateway")
        wait_until(lambda: lost.status()["connections"] >= 5, "clients to come")
        orders = exchange.service("order-service")
        wait_until(lambda: orders.status()["seq"] >= 1500, "the load to go on")
        lost.kill()
        load.child.wait()
        lost.start()
        told = load.finish()
        self.assertEqual((told["commands"], told["fills_over"]), (3060, 0))
        self.assertGreater(told["storms"], 1)
        found = exchange_judge.judge_exchange(exchange, [load])
        self.assertEqual(found["acked"], 3060)
        self.assertGreater(found["trades"], 100)

    def test_a_gateway_s_clients_may_not_pay_in(self):
        processes = Processes()
        self.addCleanup(processes.end_all)
        exchange = Exchange(processes, os.environ["BATON_BIN"], self.root / "exchange")
        self.addCleanup(exchange.close)
        exchange.start()
        done = subprocess.run([LOAD, "--connect", exchange.address("gateway"), "--deposit", "1000"], capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--admin", done.stderr)
        exchange.stop()


if __name__ == "__main__":
    main()
