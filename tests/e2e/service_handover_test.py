"""Hot handover: a standby follows, takes over at one seq, and nobody ever sees two writers. Real processes on one host.

The toy ends or stands still at a step of a handover when TOY_DIE_IN or TOY_STOP_IN names it."""
import json
import os
import pathlib
import random
import socket
import struct
import sys
import time

from cli_case import TOY, TOY_NEXT, ServiceCase, ToyClient, process, signal
from workdir import connect_unix, main, wait_until

ENGINE_OLD, ENGINE_NEW, LOAD = map(process.program, ("matching-engine-1.0.0", "matching-engine-1.1.0", "exchange-load"))


def stopped(child):
    stat = pathlib.Path(f"/proc/{child.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


class HandoverCase(ServiceCase):
    """Two directories, self.data of the first active, self.other of its standby."""

    def setUp(self):
        super().setUp()
        self.other = self.root / "other"

    def run_toy(self, directory, *options, program=TOY, standby_of=None, env=None):
        follow = ("--standby-of", standby_of) if standby_of else ()
        child = self.spawn(program, "run", "--dir", directory, "--listen", self.listen, *follow, *options,
                           env=env or {})
        child.directory = directory
        return child

    def standby(self, directory=None, of=None, *options, program=TOY_NEXT, env=None):
        """Started, and level with the active."""
        child = self.run_toy(directory or self.other, *options, program=program, standby_of=of or self.data, env=env)
        self.wait_level(child, of or self.data)
        return child

    def status_of(self, directory):
        result = self.service("status", "-o", "json", where=str(directory))
        return result.json() if result.status == 0 else None

    def wait_phase(self, child, phase):
        def there():
            if not child.running():
                raise AssertionError(f"it ended with {child.popen.returncode}:\n{child.err()}")
            status = self.status_of(child.directory)
            return status if status and status["phase"] == phase else None
        return wait_until(there, f"phase {phase} of {child.directory}")

    def wait_level(self, child, of):
        def level():
            if not child.running():
                raise AssertionError(f"it ended with {child.popen.returncode}:\n{child.err()}")
            here, there = self.status_of(child.directory), self.status_of(of)
            return here and there and here["phase"] == "following" and here["follow"]["connected"] \
                and here["durable_seq"] == there["durable_seq"] and any(
                    f["nonce"] == here["instance"]["nonce"] and f["following"] for f in there["followers"])
        wait_until(level, f"{child.directory} to be level with {of}")

    def handover(self, directory, *options, check=None):
        return self.service("handover", "-o", "json", *options, where=str(directory), check=check)

    def assert_one_journal(self, *directories):
        """One writer for each seq, whichever is named first."""
        self.baton("journal", "verify", *directories, check=0)
        self.baton("journal", "verify", *reversed(directories), check=0)


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
        asked = self.spawn(*self.handover_command(self.data))
        wait_until(lambda: stopped(new), "the successor to stand still in its taking")
        waiting = self.client()
        waiting.send(1, 5)
        new.send(signal.SIGCONT)
        self.assertEqual(waiting.receive(), "2 1 6")
        self.assertEqual(asked.wait(), 0)

    def handover_command(self, directory, *options):
        return (process.program("baton"), "service", "handover", str(directory), "-o", "json", *options)

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
            wait_until(lambda: self.status_of(active)["phase"] == "running" and any(
                f["following"] and f["durable_seq"] == self.status_of(active)["durable_seq"]
                for f in self.status_of(active)["followers"]), "the other one to follow")
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


class Deaths(HandoverCase):
    """Either side ends at a step, by kill -9."""

    def begin(self, old_env=None, new_env=None):
        self.old = self.run_toy(self.data, env=old_env)
        self.wait_phase(self.old, "running")
        self.client().add(1, 1)
        self.new = self.standby(env=new_env)
        self.asked = self.handover(self.data)

    def assert_old_recovers(self):
        """Before the record: the directory is the old one's, and the standby follows its next process."""
        self.assertEqual(self.old.wait(), -signal.SIGKILL)
        again = self.run_toy(self.data)
        self.wait_phase(again, "running")
        self.assertEqual(self.client().add(1, 1), "2 1 2")
        self.wait_level(self.new, self.data)
        self.handover(self.data, "--wait", check=0)
        self.wait_phase(self.new, "running")
        self.assertEqual(self.client().add(1, 1), "3 1 3")

    def test_old_dies_preparing(self):
        self.begin(old_env={"TOY_DIE_IN": "preparing"})
        self.assert_old_recovers()

    def test_old_dies_stopped(self):
        self.begin(old_env={"TOY_DIE_IN": "stopped"})
        self.assert_old_recovers()

    def assert_new_takes(self):
        """The record stands: the standby finds it by itself, and the old directory starts no more."""
        self.assertEqual(self.old.wait(), -signal.SIGKILL)
        status = self.wait_phase(self.new, "running")
        self.assertEqual(status["epoch"], 2)
        self.assertEqual(self.client().add(1, 1), "2 1 2")
        refused = process.run(TOY, "run", "--dir", self.data)
        self.assert_refused(refused, 1, f"an instance runs in {self.other}")
        self.new.kill()
        refused = process.run(TOY, "run", "--dir", self.data)
        self.assert_refused(refused, 1, f"the authority is {self.other}")
        again = self.run_toy(self.other, program=TOY_NEXT)
        self.wait_phase(again, "running")
        self.assertEqual(self.client().add(1, 1), "3 1 3")
        self.assert_one_journal(self.data, self.other)

    def test_old_dies_granted(self):
        self.begin(old_env={"TOY_DIE_IN": "granted"})
        self.assert_new_takes()

    def test_old_dies_fenced(self):
        self.begin(old_env={"TOY_DIE_IN": "fenced"})
        self.assert_new_takes()

    def test_old_dies_with_the_record_under_way(self):
        self.begin(old_env={"TOY_DIE_IN": "submitted"})
        self.assert_one_goes_on()

    def assert_one_goes_on(self):  # the record may have landed or not
        self.assertEqual(self.old.wait(), -signal.SIGKILL)
        again = self.run_toy(self.data)

        def decided():
            new = self.status_of(self.other)
            if new and new["phase"] == "running":
                return "new"
            old = self.status_of(self.data)
            return "old" if old and old["phase"] == "running" else None
        who = wait_until(decided, "one of the two to serve")
        if who == "new":
            self.assertEqual(again.wait(), 1)
        else:
            self.wait_level(self.new, self.data)
        self.assertEqual(self.client().add(1, 1), "2 1 2")

    def assert_old_serves_on(self):
        self.assertEqual(self.new.wait(), -signal.SIGKILL)
        self.assertEqual(self.asked.status, 1)
        self.assertEqual(self.client().add(1, 1), "2 1 2")
        self.assertEqual(self.status_of(self.data)["epoch"], 1)
        again = self.standby()
        self.handover(self.data, "--wait", check=0)
        self.wait_phase(again, "running")
        self.assertEqual(self.client().add(1, 1), "3 1 3")

    def test_new_dies_ready(self):
        self.begin(new_env={"TOY_DIE_IN": "ready"})
        self.assert_old_serves_on()

    def test_new_dies_answered(self):
        self.begin(new_env={"TOY_DIE_IN": "answered"})
        self.assert_old_serves_on()

    def test_new_dies_taking(self):
        """The grant stands, and nobody has begun a term by it: the old one goes on, two epochs later (R6)."""
        self.begin(new_env={"TOY_DIE_IN": "taking"})
        self.assertEqual(self.new.wait(), -signal.SIGKILL)
        self.assert_refused(self.asked, 1, "the successor died before it began")
        self.assertEqual(self.client().add(1, 1), "2 1 2")
        self.assertEqual(self.status_of(self.data)["epoch"], 3)
        refused = process.run(TOY_NEXT, "run", "--dir", self.other)
        self.assert_refused(refused, 1, f"an instance runs in {self.data}")
        again = self.standby()
        self.handover(self.data, "--wait", check=0)
        self.wait_phase(again, "running")
        self.assertEqual(self.client().add(1, 1), "3 1 3")

    def test_both_die_with_the_grant_and_nobody_began(self):
        """Whoever starts first decides under both locks: it is the old one's directory (R7)."""
        self.begin(old_env={"TOY_DIE_IN": "granted"}, new_env={"TOY_DIE_IN": "taking"})
        self.assertEqual(self.old.wait(), -signal.SIGKILL)
        self.assertEqual(self.new.wait(), -signal.SIGKILL)
        refused = process.run(TOY_NEXT, "run", "--dir", self.other)
        self.assert_refused(refused, 1, f"the authority is {self.data}")
        again = self.run_toy(self.data)
        self.assertEqual(self.wait_phase(again, "running")["epoch"], 3)
        self.assertEqual(self.client().add(1, 1), "2 1 2")
        follower = self.standby()
        self.handover(self.data, "--wait", check=0)
        self.wait_phase(follower, "running")
        self.assertEqual(self.client().add(1, 1), "3 1 3")

    def test_new_dies_serving(self):
        """Its header is durable: the old one is fenced, and the new one's directory starts by itself."""
        self.begin(new_env={"TOY_DIE_IN": "serving"})
        self.assertEqual(self.new.wait(), -signal.SIGKILL)
        self.assertEqual(self.old.wait(), 0)
        again = self.run_toy(self.other, program=TOY_NEXT)
        self.wait_phase(again, "running")
        self.assertEqual(self.client().add(1, 1), "2 1 2")


class Stops(HandoverCase):
    """The old one stands still, and wakes when the other serves."""

    def begin(self, step):
        self.old = self.run_toy(self.data, env={"TOY_STOP_IN": step})
        self.wait_phase(self.old, "running")
        self.late = self.client()
        self.late.add(1, 1)
        self.new = self.standby()
        self.asked = self.spawn(process.program("baton"), "service", "handover", str(self.data))

    def assert_fenced(self):
        self.wait_phase(self.new, "running")
        fresh = ToyClient(self.listen)
        self.addCleanup(fresh.close)
        self.late.send(1, 100)
        self.assertEqual(fresh.add(1, 1), "2 1 2")
        self.old.send(signal.SIGCONT)
        self.assertEqual(self.old.wait(), 0)
        self.assertIsNone(self.late.receive())
        self.assertEqual(fresh.add(1, 1), "3 1 3")
        self.assertEqual(self.new.terminate(), 0)
        self.assert_one_journal(self.data, self.other)

    def test_stopped_after_the_grant(self):
        self.begin("granted")
        self.assert_fenced()

    def test_stopped_with_the_record_under_way(self):
        """The record may be in the kernel or not. If not, the other waits; nobody serves beside the old one."""
        self.begin("submitted")
        wait_until(lambda: self.status_of(self.other)["follow"]["state"] in ("answered", "taking", "serving"),
                   "the standby's answer")
        self.old.send(signal.SIGCONT)
        self.wait_phase(self.new, "running")
        self.assertEqual(self.old.wait(), 0)
        self.assertIsNone(self.late.receive())
        self.assertEqual(self.client().add(1, 1), "2 1 2")
        self.assertEqual(self.new.terminate(), 0)
        self.assert_one_journal(self.data, self.other)

    def test_stopped_before_the_record(self):
        """It wakes, sees its clock, and serves on: the other has waited."""
        self.begin("offered")
        wait_until(lambda: stopped(self.old), "the old one to stand still")
        self.assertIn(self.status_of(self.other)["follow"]["state"], ("ready", "answered"))
        self.old.send(signal.SIGCONT)
        self.assertIn(self.asked.wait(), (0, 1))
        fresh = ToyClient(self.listen)
        self.addCleanup(fresh.close)
        self.assertEqual(fresh.add(1, 1), "2 1 2")


class Rounds(HandoverCase):
    """Either side, or both, killed or stopped at any moment of a handover; then started again. One serves, and has all.

    HANDOVER_ROUNDS and HANDOVER_SEED in the environment make a campaign of it."""

    def start_in(self, directory, standby):
        program = TOY if directory == self.data else TOY_NEXT
        self.children[directory] = self.run_toy(directory, "--segment-size", "1MiB", program=program,
                                                standby_of=self.of[directory] if standby else None)

    def phase(self, directory):
        child = self.children.get(directory)
        if child is None or not child.running():
            return None
        status = self.status_of(directory)
        return status["phase"] if status else "starting"

    def settled(self):
        """The active, when the other one follows and is level. Who has ended is started: as a standby of one that serves, or
        that waits for its word."""
        phases = {directory: self.phase(directory) for directory in self.of}
        running = [directory for directory in self.of if phases[directory] == "running"]
        self.assertLess(len(running), 2, phases)
        for directory, other in self.of.items():
            if phases[directory] is None:
                self.start_in(directory, phases[other] in ("running", "undecided"))
        if not running or phases[self.of[running[0]]] != "following":
            return None
        status = self.status_of(running[0])
        return running[0] if status and any(f["following"] and f["durable_seq"] == status["durable_seq"]
                                            for f in status["followers"]) else None

    def test_one_of_the_two_serves_and_has_everything(self):
        seed = int(os.environ.get("HANDOVER_SEED", time.time_ns() % 1000000))
        rounds = int(os.environ.get("HANDOVER_ROUNDS", 8))
        print(f"seed {seed}: HANDOVER_SEED={seed} HANDOVER_ROUNDS={rounds}", file=sys.stderr)
        chance = random.Random(seed)
        self.of = {self.data: self.other, self.other: self.data}
        self.children = {}
        self.start_in(self.data, False)
        self.wait_phase(self.children[self.data], "running")
        total = 0
        for number in range(rounds):
            active = wait_until(self.settled, f"one active and one level standby in round {number}")
            client = self.client()
            for _ in range(5):
                total += 1
                self.assertEqual(client.add(1, 1), f"{total} 1 {total}")
            client.close()
            asked = self.spawn(process.program("baton"), "service", "handover", str(active), "--timeout", "5s")
            time.sleep(chance.random() * 0.014)  # a moment, not a wait
            sides = chance.choice([[active], [self.of[active]], [active, self.of[active]], []])
            kill = chance.random() < 0.7
            for directory in sides:
                self.children[directory].send(signal.SIGKILL if kill else signal.SIGSTOP)
            time.sleep(chance.random() * 0.3)
            for directory in sides:
                if kill:
                    self.children[directory].wait()
                else:
                    self.children[directory].send(signal.SIGCONT)
            asked.wait()
        wait_until(self.settled, "one active and one level standby")
        self.assertEqual(self.client().add(1, 1), f"{total + 1} 1 {total + 1}")


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
        answer = self.handover(self.data, "--wait", check=0).json()
        self.assertEqual(old.wait(), 0)
        self.wait_phase(new, "running")
        back = self.engine(ENGINE_OLD, self.data, "--standby-of", self.other)
        self.wait_phase(back, "following")
        wait_until(lambda: any(f["following"] for f in self.status_of(self.other)["followers"]), "the old one to follow")
        self.handover(self.other, "--wait", check=0)
        self.assertEqual(new.wait(), 0)
        self.assertEqual(load.wait(), 0, load.err())
        result = json.loads(summary.read_text())
        self.assertEqual((result["acked"], result["unacked"], result["conflicts"], result["refused"]),
                         (result["commands"], 0, 0, 0))
        self.assertEqual(result["connections"], 1)  # it went along (R10)
        steps = ", ".join(f"{step['step']} {step['ms']:.1f}" for step in answer["handover"]["steps"])
        print(f"gap {answer['handover']['gap_ms']:.1f} ms, the client's {result['silence_ms']} ms; {steps}", file=sys.stderr)
        self.wait_phase(back, "running")
        self.assertEqual(back.terminate(), 0)
        self.assert_one_journal(self.other, self.data)


if __name__ == "__main__":
    main()
