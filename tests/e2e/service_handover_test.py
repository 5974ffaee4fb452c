"""Hot handover: a standby follows, takes over at one seq, and nobody ever sees two writers. Real processes on one host."""
import json
import os
import socket
import struct
import sys

from cli_case import TOY, TOY_NEXT, process, signal
from handover_case import ENGINE_NEW, ENGINE_OLD, LOAD, HandoverCase
from workdir import connect_unix, main, wait_until


class Toy(HandoverCase):
    def test_authority_moves_and_nothing_is_lost(self):
        old = self.start()
        client = self.client()
        for number in range(30):
            client.add(number % 5, 1)
        new = self.standby()
        answer = self.handover(self.data, "--wait", check=0).json()
        self.assertEqual(answer["handover"]["state"], "fenced")
        self.assertLess(answer["handover"]["gap_ms"], 250)
        self.assertEqual(old.wait(), 0)
        self.assertIsNone(client.receive())
        status = self.wait_phase(new, "running")
        self.assertEqual((status["epoch"], status["seq"]), (2, 30))
        self.assertEqual(self.client().add(0, 1), "31 0 7")
        self.assertEqual(new.terminate(), 0)
        self.assert_one_journal(self.data, self.other)

    def test_a_connect_never_fails(self):
        """Who connects while nobody accepts waits, and is served by the new one."""
        self.start()
        self.client().add(1, 1)
        new = self.standby(env={"TOY_STOP_IN": "taking"})
        asked = self.ask_handover(self.data)
        self.wait_stopped(new)
        waiting = self.client()
        waiting.send(1, 5)
        new.send(signal.SIGCONT)
        self.assertEqual(waiting.receive(), "2 1 6")
        self.assertEqual(asked.wait(), 0)

    def test_there_and_back(self):
        """The old one follows the new one in its old directory, and gets authority back, time and again."""
        active, directory, other = self.start(), self.data, self.other
        programs = [TOY, TOY_NEXT]
        for number in range(6):
            self.assertEqual(self.client().add(7, 1), f"{number + 1} 7 {number + 1}")
            new = self.standby(other, directory, program=programs[(number + 1) % 2])
            self.handover(directory, "--wait", check=0)
            self.assertEqual(active.wait(), 0)
            self.wait_phase(new, "running")
            active, directory, other = new, other, directory
        self.assertEqual(self.status_of(directory)["epoch"], 7)
        self.assertEqual(active.terminate(), 0)
        self.assert_one_journal(other, directory)

    def test_two_warm_instances_hand_over_to_and_fro(self):
        """Each stays, and follows the other in place; descriptors do not grow."""
        keep = ("--after-handover", "standby")
        self.run_toy(self.data, *keep)
        wait_until(lambda: self.status_of(self.data), "the first one")
        first, second = self.status_of(self.data)["instance"]["pid"], None
        self.client().add(1, 1)
        self.standby(None, None, *keep)
        second = self.status_of(self.other)["instance"]["pid"]
        directories = [self.data, self.other]
        counts = []
        for number in range(12):
            active, standby = directories[number % 2], directories[(number + 1) % 2]
            self.wait_followed(active)
            counts.append(tuple(len(os.listdir(f"/proc/{pid}/fd")) for pid in (first, second)))
            self.handover(active, check=0)
            self.assertEqual(self.client().add(1, 1), f"{number + 2} 1 {number + 2}")
            self.assert_one_journal(*directories)
        # A segment that is being made has a descriptor for a moment; one left open at each handover would be eight.
        for before, after in zip(counts[2], counts[10]):
            self.assertLess(after, before + 4, counts)
        self.assertEqual(self.status_of(self.data)["epoch"], 13)

    def test_a_standby_that_stands_still_does_not_slow_the_active(self):
        self.start()
        client = self.client()
        client.add(1, 1)
        new = self.standby()
        new.send(signal.SIGSTOP)
        for number in range(2000):
            client.add(number % 7, 1)
        self.assertEqual(self.status_of(self.data)["released_seq"], 2001)
        new.send(signal.SIGCONT)
        self.wait_level(new, self.data)

    def test_a_standby_begins_with_a_snapshot(self):
        old = self.start("--segment-size", "1MiB", "--retire", "yes")
        client = self.client()
        for number in range(50):
            client.add(number, 1)
        self.service("snapshot", check=0)
        client.add(0, 1)
        new = self.standby()
        self.assertIn("handover.snapshot_fetched", new.err())
        self.handover(self.data, "--wait", check=0)
        self.assertEqual(old.wait(), 0)
        self.wait_phase(new, "running")
        self.assertEqual(self.client().add(0, 1), "52 0 3")

    def test_a_standby_that_was_killed_goes_on_where_it_stood(self):
        self.start()
        client = self.client()
        for number in range(20):
            client.add(number, 1)
        first = self.standby()
        first.kill()
        for number in range(20):
            client.add(number, 1)
        again = self.standby()
        self.assertIn("from_seq=21", again.err())
        self.handover(self.data, check=0)
        self.wait_phase(again, "running")
        self.assertEqual(self.client().add(0, 1), "41 0 3")

    def test_states_that_differ_are_found_and_the_old_one_serves_on(self):
        self.start()
        client = self.client()
        client.add(1, 1)
        self.standby(None, None, "--lie", "silently")
        refused = self.handover(self.data)
        self.assert_refused(refused, 1, "the two differ after entry 1")
        self.assertEqual(client.add(1, 1), "2 1 2")
        status = self.status_of(self.data)
        self.assertEqual((status["phase"], status["epoch"]), ("running", 1))
        self.assertIn("digest", status["handover"]["error"]["why"])

    def test_a_standby_that_stands_still_costs_no_more_than_the_gap(self):
        self.start()
        client = self.client()
        client.add(1, 1)
        new = self.standby(env={"TOY_STOP_IN": "answered"})
        refused = self.handover(self.data, "--max-gap", "100ms")
        self.assert_refused(refused, 1, "100 ms passed in step 'offered'")
        self.assertEqual(client.add(1, 1), "2 1 2")
        new.send(signal.SIGCONT)
        self.wait_level(new, self.data)
        self.assertEqual(self.status_of(self.other)["follow"]["state"], "following")
        self.assertEqual(client.add(1, 1), "3 1 3")

    def test_who_may_take_over_is_asked_for(self):
        self.start()
        self.client().add(1, 1)
        self.assert_refused(self.handover(self.data), 1, "no such standby follows")
        first, second = self.standby(), self.standby(self.root / "third")
        self.assert_refused(self.handover(self.data), 1, "2 standbys follow")
        self.assert_refused(self.handover(self.other), 1, "this is a standby")
        nonce = self.status_of(second.directory)["instance"]["nonce"]
        self.handover(self.data, "--to", nonce, check=0)
        self.wait_phase(second, "running")
        self.wait_level(first, second.directory)  # it follows the successor now (R11)
        self.handover(second.directory, "--wait", check=0)
        self.assertEqual(self.wait_phase(first, "running")["epoch"], 3)
        self.assertEqual(self.client().add(1, 1), "2 1 2")
        self.assert_one_journal(self.data, second.directory, first.directory)

    def test_a_standby_ends_by_sigterm_and_the_active_serves_on(self):
        self.start()
        client = self.client()
        client.add(1, 1)
        self.assertEqual(self.standby().terminate(), 0)
        self.assertEqual(client.add(1, 1), "2 1 2")


class Peers(HandoverCase):
    """What the handover socket is sent by others."""

    def connect(self):
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(peer.close)
        connect_unix(peer, self.data / "handover.sock")
        peer.settimeout(120)
        return peer

    def end_of(self, peer):
        got = b""
        while True:
            try:
                part = peer.recv(65536)
            except ConnectionResetError:
                part = b""
            if not part:
                return got
            got += part

    def test_what_is_no_message_is_refused_with_a_line(self):
        self.start()
        client = self.client()
        for bytes_sent, words in ((b"GET / HTTP/1.1\r\n\r\n" + bytes(200), b"does not speak the handover protocol"),
                                  (b"BATONHND" + struct.pack("<HH", 9, 1) + bytes(100), b"it speaks handover protocol 9"),
                                  (b"BATONHND" + struct.pack("<HHI", 1, 99, 0) + bytes(96), b"type 99 is unknown"),
                                  (b"BATONHND" + struct.pack("<HHI", 1, 1, 1128) + bytes(1224), b"its digest does not fit")):
            peer = self.connect()
            peer.sendall(bytes_sent)
            self.assertIn(words, self.end_of(peer))
        self.assertEqual(client.add(1, 1), "1 1 1")

    def test_silent_ones_do_not_lock_others_out_for_ever(self):
        self.start()
        peers = [self.connect() for _ in range(8)]
        self.client().add(1, 1)
        for peer in peers:
            self.assertEqual(self.end_of(peer), b"")
        self.standby()

    def test_another_service_is_refused(self):
        self.start()
        refused = process.run(ENGINE_OLD, "run", "--dir", self.other, "--standby-of", self.data, "--listen",
                              f"unix:{self.socket_path('orders')}")
        self.assert_refused(refused, 1, "the active is toy, the standby is matching-engine")

    def test_another_journal_is_refused(self):
        self.start()
        self.client().add(1, 1)
        third = self.root / "third"
        other = self.spawn(TOY, "run", "--dir", third, "--listen", self.socket_path("third"))
        other.directory = third
        self.wait_phase(other, "running")
        self.assertEqual(other.terminate(), 0)
        refused = process.run(TOY, "run", "--dir", third, "--standby-of", self.data)
        self.assert_refused(refused, 1, "another journal")

    def test_nobody_answers(self):
        refused = process.run(TOY, "run", "--dir", self.other, "--standby-of", self.data)
        self.assert_refused(refused, 1, "no active instance answers there")


class Exchange(HandoverCase):
    """The matching engine under load: every order is acknowledged exactly once."""

    def engine(self, program, directory, *options):
        child = self.spawn(program, "run", "--dir", directory, "--listen", self.orders, *options)
        child.directory = directory
        return child

    def test_orders_go_on_across_handovers(self):
        self.orders = "unix:" + self.socket_path("orders")
        old = self.engine(ENGINE_OLD, self.data)
        self.wait_phase(old, "running")
        summary = self.root / "summary.json"
        load = self.spawn(LOAD, "--connect", self.orders, "--orders", "20000", "--rate", "5000", "--json", summary)
        new = self.engine(ENGINE_NEW, self.other, "--standby-of", self.data)
        self.wait_phase(new, "following")
        wait_until(lambda: self.status_of(self.data)["followers"][0]["following"]
                   and self.status_of(self.data)["seq"] > 2000, "load, and a standby")
        handover = self.handover_under_load(self.data)
        self.assertEqual(old.wait(), 0)
        self.wait_phase(new, "running")
        back = self.engine(ENGINE_OLD, self.data, "--standby-of", self.other)
        self.wait_phase(back, "following")
        wait_until(lambda: any(f["following"] for f in self.status_of(self.other)["followers"]), "the old one to follow")
        self.handover_under_load(self.other)
        self.assertEqual(new.wait(), 0)
        self.assertEqual(load.wait(), 0, load.err())
        result = json.loads(summary.read_text())
        self.assertEqual((result["acked"], result["unacked"], result["conflicts"], result["refused"]),
                         (result["commands"], 0, 0, 0))
        self.assertEqual(result["connections"], 1)  # it went along (R10)
        steps = ", ".join(f"{step['step']} {step['ms']:.1f}" for step in handover["steps"])
        print(f"gap {handover['gap_ms']:.1f} ms, the client's {result['silence_ms']} ms; {steps}", file=sys.stderr)
        self.wait_phase(back, "running")
        self.assertEqual(back.terminate(), 0)
        self.assert_one_journal(self.other, self.data)


if __name__ == "__main__":
    main()
