"""Bad input at the handover socket: each is refused with one clear line, counted, and nobody who is served notices."""
import os
import socket
import struct
import threading

from cli_case import process
from handover_peer import (ABORT, ACK, ANSWER, BATCH, FETCH, FINAL, FOLLOW, HELLO, PREPARE, READY, REFUSE, START, TAKEN, WELCOME,
                           Hello, follow_body, position, refusal)
from peer_case import PeerCase
from workdir import DEADLINE_S, main, wait_until

OUTSIDE = "version 9.9.9 outside allowed range [1.0.0, 1.1.0]"


class Protocols(PeerCase):
    def test_who_speaks_later_protocols_too_is_answered_in_the_common_one(self):
        peer = self.peer()
        answer = peer.follow(Hello(protocol_highest=7, more=bytes(range(64))))
        self.assertEqual((answer.type, answer.version), (WELCOME, 1))
        self.assertEqual((answer.hello().protocol_lowest, answer.hello().protocol_highest), (1, 1))
        self.assert_serves()
        for kind in (START, BATCH):
            message = peer.hear()
            self.assertEqual((message.type, message.version), (kind, 1))
        peer.say(ACK, position(1, 2, 1) + struct.pack("<Q", 1), version=2)  # not the one agreed on
        self.assertIn("it speaks handover protocol 2, this one speaks 1 to 1", peer.refused())

    def test_who_speaks_only_later_ones_is_refused_by_both_ranges(self):
        peer = self.peer()
        answer = peer.greet(Hello(protocol_lowest=2, protocol_highest=3, more=bytes(800)))
        self.assertEqual((answer.type, answer.version), (REFUSE, 1))
        self.assertEqual(answer.why(), "the active speaks handover protocols 1 to 1, the standby 2 to 3")
        self.assertIsNone(peer.hear())
        wait_until(lambda: self.faults("fingerprint") == 1, "the count")
        self.assert_serves()

    def test_a_range_that_is_none_and_what_is_behind_a_known_hello_are_refused(self):
        for hello in (Hello(protocol_lowest=0), Hello(protocol_lowest=2), Hello(protocol_highest=70000), Hello(more=bytes(8)),
                      Hello(entry_types=[(1, 1)] * 3, entry_types_count=2), Hello(service="toy\n"), Hello(service=""),
                      Hello(directory="relative"), Hello(is_active=3)):
            peer = self.peer()
            peer.say(HELLO, bytes(hello))
            self.assertIn("out of its range", peer.refused())


class Fingerprints(PeerCase):
    def test_each_difference_that_matters_is_refused_by_name(self):
        self.assert_serves()
        real = self.peer().greet().hello()
        self.assertEqual((real.service, real.schema_pinned, real.is_active, real.journal_format), ("toy", 1, 1, 1))
        for hello, header, label, words in (
                (Hello(service="other"), {}, "fingerprint", "the active is toy, the standby is other"),
                (Hello(journal_format=0), {}, "fingerprint", "the active writes journal format 1, the standby reads up to 0"),
                (Hello(batch_bytes_max=4096), {}, "fingerprint",
                 f"the active's batches have up to {real.batch_bytes_max} bytes, the standby takes 4096"),
                (Hello(schema_write=3, schema_read_min=2), {}, "fingerprint",
                 "toy 1.0.0 writes schema 1, finalized, the standby (1.0.0) reads and writes 2 to 3"),
                (Hello(entry_types=[(7, 1)]), {}, "fingerprint",
                 "the active takes in entries of type 1, which the standby (1.0.0) does not"),
                (Hello(version="9.9.9"), {}, "version", "the standby's " + OUTSIDE),
                (Hello(version="x"), {}, "version", "the standby's version x outside allowed range [1.0.0, 1.1.0]"),
                (Hello(is_active=1), {}, "authority", "it says that it is an active itself"),
                (Hello(), {"journal_id": b"\1" * 16}, "authority", "the standby's directory holds another journal"),
                (Hello(), {"epoch": 99}, "authority", "the standby has a later term: epoch 99, here it is 1"),
                (Hello(), {"to": b"\2" * 16}, "authority", "another instance is meant")):
            before = self.faults(label)
            peer = self.peer()
            peer.say(HELLO, bytes(hello), **header)
            why = peer.refused()
            self.assertEqual(why, words)
            self.assertEqual(self.faults(label), before + 1)
            wait_until(lambda: words in self.active.err(), "the same words in its log")
            self.assert_serves()

    def test_a_window_that_only_warns_lets_it_in_and_says_so(self):
        self.assertEqual(self.active.terminate(), 0)
        self.active = self.start("--compatible", "warn", "--compatible-min", "0.9.0")
        self.assertEqual(self.status()["compatibility"],
                         {"min_agent_version": "0.9.0", "max_agent_version": "1.1.0", "outside": "warn"})
        peer = self.peer()
        peer.follow(Hello(version="9.9.9"))
        follower = wait_until(lambda: [f for f in self.status()["followers"] if f["following"]], "the follower")[0]
        self.assertEqual((follower["version"], follower["outside_window"], follower["protocol"]), ("9.9.9", True, 1))
        self.assertEqual(self.faults("outside"), 1)
        self.assertIn("version 9.9.9 outside allowed range [0.9.0, 1.1.0]", self.active.err())

    def test_a_standby_outside_the_window_ends_with_one_line_and_warn_on_both_sides_lets_it(self):
        refused = process.run(self.active.popen.args[0], "run", "--dir", self.other, "--standby-of", self.data,
                              "--compatible-min", "1.1.0")
        self.assert_refused(refused, 1, "the active's version 1.0.0 outside allowed range [1.1.0, 1.1.0]", "--compatible-min")
        wait_until(lambda: "handover.standby_refuses" in self.active.err(), "the active to hear of it")
        self.standby(None, None, "--compatible-min", "1.1.0", "--compatible", "warn")
        self.assert_serves()

    def test_a_window_that_is_none_is_refused_at_the_start(self):
        for options in (("--compatible-min", "x"), ("--compatible-max", "1"), ("--compatible-min", "2.0.0"),
                        ("--compatible", "perhaps")):
            refused = process.run(self.active.popen.args[0], "run", "--dir", self.other, *options)
            self.assert_refused(refused, 1, "option --compatible")
            self.assertFalse(self.other.exists())

    def test_after_a_finalize_the_one_that_can_not_write_it_is_refused(self):
        self.assertEqual(self.active.terminate(), 0)
        from cli_case import TOY_NEXT
        self.active = self.start(program=TOY_NEXT)
        self.assertEqual(self.peer().greet(Hello(version="1.0.0", entry_types=[(1, 1), (2, 2)])).type, WELCOME)
        self.service("finalize", check=0)
        self.assert_serves_next()
        peer = self.peer()
        peer.say(HELLO, bytes(Hello(version="1.0.0")))
        self.assertEqual(peer.refused(), "toy 1.1.0 writes schema 2, finalized, the standby (1.0.0) reads and writes 1 to 1")

    def assert_serves_next(self):
        self.served = self.client()
        self.assert_serves()


class Frames(PeerCase):
    def test_what_is_no_message_is_refused_whatever_is_wrong_with_it(self):
        good = self.peer().message(HELLO, bytes(Hello()))
        for data, words in (
                (b"GET /health HTTP/1.1\r\n\r\n" + bytes(200), "it does not speak the handover protocol"),
                (self.peer().message(HELLO, bytes(Hello()), version=9), "it speaks handover protocol 9"),
                (self.peer().message(99), "type 99 is unknown"),
                (self.peer().message(0), "type 0 is unknown"),
                (self.peer().message(HELLO, body_bytes=0), "its length does not fit its type"),
                (self.peer().message(FOLLOW, bytes(56)), "its length does not fit its type"),
                (self.peer().message(BATCH, body_bytes=(4 << 20) + 8), "longer than any message may be"),
                (self.peer().message(BATCH, body_bytes=0xFFFFFFF8), "longer than any message may be"),
                (self.peer().message(BATCH, body_bytes=1 << 20), "longer than it may be here"),
                (self.peer().message(HELLO, bytes(Hello()), descriptors=1), "it brings descriptors"),
                (self.peer().message(HELLO, bytes(Hello()), zero=b"\1" + bytes(11)), "bits set that must be zero"),
                (self.peer().message(HELLO, bytes(Hello()), digest=bytes(16)), "its digest does not fit"),
                (good[:200] + b"\xff" + good[201:], "its digest does not fit"),
                (self.peer().message(HELLO, bytes(Hello(is_active=1)), epoch=(1 << 64) - 1), "an epoch that no journal comes to"),
                (self.peer().message(HELLO, bytes(Hello(highest_name=1 << 63))), "an epoch that no journal comes to"),
                (self.peer().message(HELLO, bytes(Hello(at=bytes(80) + struct.pack("<Q", 1 << 63) + bytes(48)))),
                 "an epoch that no journal comes to"),
                (self.peer().message(FOLLOW, follow_body()), "the first message is to say who it is"),
                (self.peer().message(WELCOME, bytes(Hello())), "the first message is to say who it is")):
            peer = self.peer()
            peer.socket.sendall(data)
            self.assertIn(words, peer.refused())
            self.assert_serves()

    def test_what_is_cut_off_anywhere_is_the_end_of_that_connection_only(self):
        good = self.peer().message(HELLO, bytes(Hello()))
        for size in (0, 1, 95, 111, 112, 113, 600, len(good) - 1):
            peer = self.peer()
            peer.socket.sendall(good[:size])
            peer.socket.shutdown(socket.SHUT_WR)
            self.assertIsNone(peer.hear(), size)
        self.assert_serves()
        peer = self.peer()
        for at in range(0, len(good), 7):  # in pieces it is as good as any
            peer.socket.sendall(good[at:at + 7])
        self.assertEqual(peer.hear().type, WELCOME)

    def test_each_message_has_its_place_and_speaks_for_its_own_instance(self):
        ack = position(1, 1, 0) + struct.pack("<Q", 0)
        for following, kind, body, other, words in (
                (False, HELLO, bytes(Hello()), {}, "a message has no place there"),
                (False, ACK, ack, {}, "a message has no place there"),
                (False, READY, bytes(8), {}, "a message has no place there"),
                (True, FETCH, bytes(32), {}, "a message has no place there"),
                (True, FOLLOW, follow_body(), {}, "a message has no place there"),
                (True, WELCOME, bytes(Hello()), {}, "a message has no place there"),
                (True, PREPARE, bytes(152), {}, "a message has no place there"),
                (True, FINAL, bytes(112), {}, "a message has no place there"),
                (True, ABORT, refusal("no"), {}, "a message has no place there"),
                (True, ACK, ack, {"nonce": b"\3" * 16}, "it speaks for another instance, or to another one"),
                (True, ACK, ack, {"to": b"\3" * 16}, "it speaks for another instance, or to another one")):
            peer = self.peer()
            if following:
                peer.follow()
            else:
                peer.greet()
            peer.say(kind, body, **other)
            self.assertEqual(peer.refused(), words)
            self.assert_serves()
        self.assertEqual(self.faults("order"), 11)

    def test_descriptors_that_nobody_asked_for_are_closed(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.assert_serves()
        before = self.descriptors()
        for _ in range(40):
            peer = self.peer()
            peer.say(HELLO, bytes(Hello()), fds=[writer] * 8)
            self.assertEqual(peer.refused(), "a standby passes no descriptors")
        os.close(writer)
        self.assertEqual(os.read(reader, 1), b"")  # nobody else has it open
        self.assertLess(self.descriptors(), before + 12)

    def test_a_position_that_is_not_in_the_journal_is_refused(self):
        self.assert_serves()
        for body, words in ((follow_body(position(1, 99, 99), b"\4" * 16),
                             "the standby has entries up to 99, the active up to 1"),
                            (follow_body(position(1, 1, 0), b"\4" * 16), "")):
            peer = self.peer()
            peer.greet()
            peer.say(FOLLOW, body)
            self.assertRegex(peer.refused(), words or ".+")
        self.assertEqual(self.faults("position"), 2)
        self.assert_serves()


class Cutovers(PeerCase):
    """A standby that says the wrong thing when a handover is under way."""

    def begin(self):
        self.assert_serves()
        self.bad = self.peer()
        self.bad.follow()
        wait_until(lambda: any(f["following"] for f in self.status()["followers"]), "the follower")
        self.asked = self.ask_handover(self.data, "--max-gap", "200ms")
        self.prepare = self.bad.hear_of(PREPARE)
        self.assertEqual(len(self.prepare.fds), 1)
        os.close(self.prepare.fds.pop())

    def level(self):
        seq = self.status()["durable_seq"]
        self.bad.say(ACK, position(1, 2, seq) + struct.pack("<Q", seq))

    def test_what_is_of_another_try_or_comes_twice_changes_nothing(self):
        self.begin()
        for _ in range(3):
            self.bad.say(READY, bytes(8), try_number=77)
        self.bad.say(TAKEN, bytes(32), try_number=self.prepare.try_number)
        wait_until(lambda: self.faults("ignored") == 3, "them to be ignored")
        self.assert_serves()  # intake is on: nobody was ready
        self.bad.say(REFUSE, refusal("not today"), try_number=self.prepare.try_number)
        self.assertEqual(self.asked.wait(), 1)
        self.assertIn("not today", self.asked.err())
        self.assert_serves()

    def test_an_answer_that_differs_costs_a_moment(self):
        self.begin()
        self.level()
        self.bad.say(READY, bytes(8), try_number=self.prepare.try_number)
        final = self.bad.hear_of(FINAL)
        for _ in range(5):
            self.bad.say(ANSWER, final.body[:-40] + bytes(40), try_number=final.try_number)
        self.assertEqual(self.bad.hear_of(ABORT).try_number, final.try_number)
        self.assertEqual(self.asked.wait(), 1)
        self.assertIn("the two differ after entry 1", self.asked.err())
        self.assert_serves()
        self.assertEqual(self.status()["epoch"], 1)

    def test_one_that_repeats_itself_is_hung_up_on(self):
        self.begin()
        try:
            for _ in range(2000):
                self.bad.say(READY, bytes(8), try_number=77)
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertEqual(self.bad.hear_of(REFUSE).why(), "it says again and again what nobody asked for")
        self.assertEqual(self.asked.wait(), 1)
        self.assert_serves()

    def test_the_same_instance_again_takes_the_place_of_its_earlier_connection(self):
        first, second = self.peer(), self.peer()
        second.nonce = first.nonce
        first.follow()
        wait_until(lambda: any(f["following"] for f in self.status()["followers"]), "the follower")
        second.follow()
        while first.hear() is not None:
            pass
        wait_until(lambda: len(self.status()["followers"]) == 1, "only one of the two")
        self.assertEqual(self.faults("replaced"), 1)


class Floods(PeerCase):
    def test_a_talker_without_a_pause_holds_up_neither_orders_nor_the_drain(self):
        self.assert_serves()
        peer = self.peer()
        peer.follow()
        ack = peer.message(ACK, position(1, 1, 0) + struct.pack("<Q", 0)) * 500
        talking = threading.Thread(target=self.talk, args=(peer, ack), daemon=True)
        talking.start()
        for _ in range(50):
            self.assert_serves()
        self.assertEqual(self.active.terminate(), 0, self.active.err())
        talking.join(DEADLINE_S)

    def talk(self, peer, data):
        try:
            while True:
                peer.socket.sendall(data)
        except OSError:
            pass

    def test_half_open_ones_make_room_for_who_says_who_it_is(self):
        crowd = [self.peer() for _ in range(200)]
        self.assert_serves()
        peer = self.peer()
        self.assertEqual(peer.greet().type, WELCOME)
        peer.say(FOLLOW, follow_body())
        half = peer.message(HELLO, bytes(Hello()))[:300]
        for _ in range(200):
            crowd.append(self.peer())
            crowd[-1].socket.sendall(half)
        self.standby()
        self.assert_serves()
        self.assertGreaterEqual(self.faults("replaced"), 300)

    def test_a_flood_is_counted_and_fills_neither_log_nor_memory_nor_descriptors(self):
        self.assert_serves()
        self.standby()
        descriptors, memory, log = self.descriptors(), self.memory(), len(self.active.err())
        kinds = [b"GET / HTTP/1.1\r\n\r\n" + bytes(200), b"", self.peer().message(99), self.peer().message(HELLO, bytes(Hello()))[:300],
                 self.peer().message(HELLO, bytes(Hello(service="other"))), self.peer().message(HELLO, bytes(Hello(version="9.9.9")))]
        for number in range(3000):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.connect(self.short)  # waits while the queue is full
            connection.settimeout(DEADLINE_S)
            try:
                connection.send(kinds[number % len(kinds)])
            except (BrokenPipeError, ConnectionResetError):
                pass
            if number % 5 == 0:  # others hang up at once
                self.held.append(connection)
            else:
                connection.close()
            if len(self.held) > 100:
                self.held.pop(0).close()
            if number % 100 == 0:
                self.assert_serves()
                self.assertLess(self.descriptors(), descriptors + 12)
        self.assert_serves()
        self.assertGreater(self.faults("message") + self.faults("fingerprint") + self.faults("version") + self.faults("replaced"), 300)
        self.assertLess(len(self.active.err()) - log, 40000)
        self.assert_grew_little(memory)
        status = self.status()
        self.assertEqual([f["following"] for f in status["followers"] if f["directory"] == str(self.other)], [True])

    def setUp(self):
        super().setUp()
        self.held = []
        self.addCleanup(lambda: [one.close() for one in self.held])
        self.short = self.socket_path("handover")
        os.symlink(self.data / "handover.sock", self.short)
        self.short_control = self.socket_path("control")
        os.symlink(self.control, self.short_control)

    def test_a_flood_at_the_control_socket_locks_nobody_out(self):
        """Silent ones, garbage and endless lines: who asks is answered, orders go on, and nothing grows."""
        descriptors, memory, log = self.descriptors(), self.memory(), len(self.active.err())
        kinds = [b"", b"garbage\n", b'{"baton":1,"do":"status"', b"x" * 5000, b'{"baton":1,"do":"status"}\n' * 30, b"[" * 4000 + b"\n"]
        stop = threading.Event()
        flooding = [threading.Thread(target=self.flood, args=(kinds[n::2], stop), daemon=True) for n in range(2)]
        for thread in flooding:
            thread.start()
        self.addCleanup(stop.set)
        for _ in range(30):
            self.assert_serves()
            self.assertEqual(self.status()["phase"], "running")
            self.assertLess(self.descriptors(), descriptors + 24)
        stop.set()
        for thread in flooding:
            thread.join(DEADLINE_S)
        self.assert_grew_little(memory)
        self.assertLess(len(self.active.err()) - log, 20000)

    def flood(self, kinds, stop):
        held, number = [], 0
        while not stop.is_set():
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.connect(self.short_control)
            connection.setblocking(False)
            try:
                connection.send(kinds[number % len(kinds)])
            except OSError:
                pass
            held.append(connection)
            number += 1
            if len(held) > 20:
                held.pop(0).close()
        for one in held:
            one.close()

    def test_one_that_takes_nothing_is_dropped_and_one_that_says_nothing_too(self):
        silent, deaf = self.peer(), self.peer()
        silent.follow()
        deaf.follow()
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stop = threading.Event()
        talking = threading.Thread(target=self.keep_talking, args=(deaf, stop), daemon=True)
        talking.start()
        self.addCleanup(stop.set)
        def dropped():
            for _ in range(200):
                self.assert_serves()
            return self.faults("deaf") == 1 and self.faults("silent") + self.faults("deaf") == 2
        wait_until(dropped, "both to be dropped", interval=0)
        stop.set()
        talking.join(DEADLINE_S)

    def keep_talking(self, peer, stop):
        message = peer.message(ACK, position(1, 1, 0) + struct.pack("<Q", 0))
        try:
            while not stop.wait(1):
                peer.socket.sendall(message)
        except OSError:
            pass


if __name__ == "__main__":
    main()
