"""An active that says what is not so, or breaks the protocol: its standby refuses it with one clear line, on both sides, keeps
what it has, and goes on with an honest one."""
import os
import socket
import struct

from cli_case import TOY, process
from handover_peer import (ABORT, ACK, ANSWER, BATCH, FETCH, FINAL, GRANT, HELLO, PIECE, PREPARE, READY, REFUSE, SNAPSHOT, START,
                           WELCOME, Active, Hello, Relay, refusal)
from peer_case import PeerCase
from workdir import main, wait_until

HONEST = {"is_active": 1, "version": "1.0.0", "directory": "/tmp", "schema_pinned": 1}


class First(PeerCase):
    """Nothing is there yet: whoever started the standby is told at once."""

    def refused_start(self, talk):
        path = self.socket_path("liar")
        Active(self, path, talk)
        return process.run(TOY, "run", "--dir", self.other, "--standby-of", path)

    def test_each_difference_that_matters_ends_it_with_the_line_that_the_active_gets_too(self):
        for number, (welcome, words) in enumerate((
                (Hello(**{**HONEST, "service": "other"}), "the active is other, the standby is toy"),
                (Hello(**{**HONEST, "protocol_lowest": 2, "protocol_highest": 9, "more": bytes(64)}),
                 "the active speaks handover protocols 2 to 9, the standby 1 to 1"),
                (Hello(**{**HONEST, "journal_format": 2}), "the active writes journal format 2, the standby reads up to 1"),
                (Hello(**{**HONEST, "schema_pinned": 5}), "toy 1.0.0 writes schema 5, the standby (1.0.0) reads and writes 1 to 1"),
                (Hello(**{**HONEST, "entry_types": [(1, 1), (9, 1)]}), "the active takes in entries of type 9"),
                (Hello(**{**HONEST, "version": "1.2.0"}), "the active's version 1.2.0 outside allowed range [1.0.0, 1.1.0]"),
                (Hello(**{**HONEST, "version": "2.0.0"}), "the active's version 2.0.0 outside allowed range [1.0.0, 1.1.0]"),
                (Hello(**{**HONEST, "is_active": 0}), "who answers there is no active"))):
            heard = []

            def talk(peer):
                peer.to = peer.hear().nonce
                peer.say(WELCOME, bytes(welcome))
                heard.append(peer.hear())
            result = self.refused_start(talk)
            self.assert_refused(result, 1, words)
            wait_until(lambda: heard, "what the active is told")
            self.assertEqual((heard[0].type, words in heard[0].why()), (REFUSE, True), heard)

    def test_who_is_no_instance_at_all_ends_it_with_a_line(self):
        for say, words in ((lambda peer: peer.socket.sendall(b"220 mail.example ESMTP\r\n" * 10), "does not speak the handover protocol"),
                           (lambda peer: peer.socket.shutdown(socket.SHUT_RDWR), "hung up"),
                           (lambda peer: peer.say(WELCOME, body_bytes=64 << 20), "longer than any message may be"),
                           (lambda peer: peer.say(WELCOME, bytes(Hello(**HONEST)), digest=bytes(16)), "its digest does not fit"),
                           (lambda peer: peer.say(REFUSE, refusal("go away", todo="now")), "go away")):
            def talk(peer):
                peer.hear()
                say(peer)
                peer.hear()  # until it has gone
            self.assert_refused(self.refused_start(talk), 11 if "digest" in words else 1, words)

    def test_who_says_nothing_is_not_waited_for_for_ever(self):
        self.assert_refused(self.refused_start(lambda peer: peer.socket.recv(1 << 20) and peer.hear()), 1, "does not answer")

    def test_pieces_of_a_snapshot_that_do_not_fit_are_refused(self):
        def talk(pieces, size=100):
            def one(peer):
                peer.to = peer.hear().nonce
                peer.say(WELCOME, bytes(Hello(**HONEST)))
                assert peer.hear().type == FETCH
                peer.say(SNAPSHOT, struct.pack("<QQ16sQQ", 5, 1, b"\7" * 16, size, size))
                for piece in pieces:
                    peer.say(PIECE, piece)
                peer.hear()
            return one
        piece = struct.pack("<QII", 0, 8, 0) + bytes(8)
        for pieces, words in (([struct.pack("<QII", 8, 8, 0) + bytes(8)], "out of order"),
                              ([struct.pack("<QII", 0, 8, 1) + bytes(8)], "out of order"),
                              ([piece, piece], "out of order"),
                              ([struct.pack("<QII", 0, 200, 0) + bytes(200)], "out of order"),
                              ([struct.pack("<QII", 0, 9, 0) + bytes(8)], "out of its range"),
                              ([struct.pack("<QII", 0, 100, 0) + bytes(104), struct.pack("<QII", 0, 100, 1) + bytes(104)],
                               "what came is not what was named")):
            self.assert_refused(self.refused_start(talk(pieces)), 11 if "named" in words else 1, words)
        self.assertFalse(list(self.other.glob("snapshots/*.manifest")), "nothing that may be loaded")


class Warm(PeerCase):
    """A standby that has followed an honest one stays, and waits for it."""

    def setUp(self):
        super().setUp()
        self.assert_serves()
        self.link = self.socket_path("active")
        self.turn_to(self.data / "handover.sock")
        greeted = self.peer().greet()
        self.welcome, self.epoch, self.journal_id = greeted.body, greeted.epoch, greeted.journal_id
        self.new, self.more = self.standby(None, self.link), []
        self.assert_serves()

    def follow_too(self, count):
        """More standbys: each lie that is told costs its hearer a second, so they hear them side by side."""
        self.more = [self.standby(self.root / f"more{number}", self.link) for number in range(count)]

    def errors(self):
        return "".join(child.err() for child in [self.new, *self.more])

    def wait_level(self, child, of):
        super().wait_level(child, self.data)

    def turn_to(self, path):
        temporary = f"{self.link}.new"
        os.symlink(path, temporary)
        os.rename(temporary, self.link)

    def lie(self, scripts):
        """The honest one dies; each connection has the next script. The standby's refusal of each."""
        scripts, said = list(enumerate(scripts)), {}
        path = self.socket_path("liar")

        def talk(peer):
            try:
                number, script = scripts.pop(0)
            except IndexError:
                return
            peer.epoch, peer.journal_id = self.epoch, self.journal_id
            hello = peer.hear()
            peer.to = hello.nonce
            script(peer)
            said[number] = peer.hear_of(REFUSE)
        wanted = len(scripts)
        liar = Active(self, path, talk)
        self.turn_to(path)
        self.active.kill()
        wait_until(lambda: len(said) == wanted, "an end of all lies")
        liar.close()
        return [said[number].why() if said[number] else None for number in range(wanted)]

    def assert_goes_on_with_an_honest_one(self):
        self.assertTrue(self.new.running())
        self.active = self.start()
        self.turn_to(self.data / "handover.sock")
        for child in [self.new, *self.more]:
            self.wait_level(child, self.data)
        for child in self.more:
            self.assertEqual(child.terminate(), 0)
        wait_until(lambda: len(self.status()["followers"]) == 1, "the others to be gone")
        self.served = self.client()
        self.assert_serves()
        self.handover(self.data, "--wait", check=0)
        self.wait_phase(self.new, "running")
        self.served = self.client()
        self.assert_serves()
        self.assert_one_journal(self.data, self.other)

    def greet(self, **fields):
        return lambda peer: peer.say(WELCOME, bytes(Hello(self.welcome, **fields)))

    def after_welcome(self, *arguments, **options):
        def script(peer):
            self.greet()(peer)
            peer.say(*arguments, **options)
        return script

    def test_one_that_is_not_what_it_followed_is_refused(self):
        cases = ((self.greet(service="other"), "the active is other, the standby is toy"),
                 (self.greet(protocol_lowest=2, protocol_highest=3), "handover protocols 2 to 3"),
                 (self.greet(batch_bytes_max=4 << 20), "the active's batches have up to 4194304 bytes"),
                 (self.greet(version="3.0.0"), "version 3.0.0 outside allowed range [1.0.0, 1.2.0]"),
                 (lambda peer: peer.say(WELCOME, self.welcome, epoch=0), "the active is of an older term: epoch 0, here is 1"),
                 (lambda peer: peer.say(WELCOME, self.welcome, epoch=(1 << 64) - 1), "an epoch that no journal comes to"),
                 (lambda peer: peer.say(WELCOME, self.welcome, journal_id=b"\1" * 16), "another journal than this standby"))
        self.follow_too(2)
        for why, (_, words) in zip(self.lie(script for script, _ in cases), cases):
            self.assertIn(words, why)
            self.assertIn(words, self.errors())
        self.assert_goes_on_with_an_honest_one()

    def test_what_breaks_the_protocol_is_refused(self):
        batch = bytes(4096)
        cases = ((self.after_welcome(BATCH, batch), None),
                 (self.after_welcome(BATCH, batch, digest=bytes(16)), "its digest does not fit"),
                 (self.after_welcome(BATCH, body_bytes=(4 << 20) + 8), "longer than any message may be"),
                 (self.after_welcome(WELCOME, self.welcome), "has no place there"),
                 (self.after_welcome(HELLO, self.welcome), "has no place there"),
                 (self.after_welcome(PIECE, struct.pack("<QII", 0, 8, 0) + bytes(8)), "has no place there"),
                 (self.after_welcome(START, struct.pack("<32s", b"toy") + bytes(1664)), "it begins a journal that has begun"),
                 (self.after_welcome(ACK, bytes(32)), "has no place there"),
                 (self.after_welcome(BATCH, batch, nonce=b"\5" * 16), "has no place there"),
                 (self.after_welcome(BATCH, batch, to=b"\5" * 16), "has no place there"),
                 (self.after_welcome(BATCH, batch, version=2), "it speaks handover protocol 2"),
                 (self.after_welcome(PREPARE, struct.pack("<QIIQ", 10 ** 9, 1, 3, 0) + b"x".ljust(16, b"\0") * 3 + bytes(80), 1,
                                     descriptors=3), "its descriptors did not come along"),
                 (lambda peer: peer.socket.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 10), "does not speak the handover protocol"))
        self.follow_too(4)
        for why, (_, words) in zip(self.lie(script for script, _ in cases), cases):
            self.assertTrue(why)
            self.assertIn(words or why, why)
        self.assert_goes_on_with_an_honest_one()

    def test_a_grant_without_a_record_grants_nothing(self):
        stayed = []

        def script(peer):
            self.greet()(peer)
            for kind, body in ((GRANT, bytes(32)), (FINAL, bytes(112)), (ABORT, refusal("why"))):
                peer.say(kind, body, 5)
            peer.say(PREPARE, struct.pack("<QIIQ", 10 ** 9, 1, 0, 0) + bytes(128), 5)
            ready = peer.hear_of(READY, REFUSE)
            assert ready.type == READY, ready
            peer.say(GRANT, bytes(32), 5)
            status = self.status_of(self.other)
            stayed.append((status["phase"], status["follow"]["state"], status["epoch"]))
            peer.say(WELCOME, self.welcome)
        self.lie([script])
        self.assertEqual(stayed, [("following", "ready", 1)])
        self.assert_goes_on_with_an_honest_one()

    def test_one_that_takes_the_connection_and_says_nothing_is_left_again(self):
        held = []
        path = self.socket_path("liar")
        liar = Active(self, path, lambda peer: held.append(peer) or peer.hear() and peer.hear())
        self.turn_to(path)
        self.active.kill()
        wait_until(lambda: "it does not answer" in self.new.err(), "it to be left")
        liar.close()
        self.assert_goes_on_with_an_honest_one()

    def test_an_active_that_lies_for_ever_does_not_fill_the_log(self):
        count = []

        def script(peer):
            count.append(1)
            peer.socket.sendall(b"x" * 200)
        self.lie([script] * 5)
        self.assertLess(len(self.new.err()), 20000)
        self.assertTrue(self.new.running())


class Between(PeerCase):
    """Everything is honest, and dies at the worst moment."""

    def restart_to_die_in_its_grant(self):
        self.assert_serves()
        self.active.kill()
        self.active = self.run_toy(self.data, env={"TOY_DIE_IN": "granted"})
        self.wait_phase(self.active, "running")

    def hand_over_through(self, pass_on):
        """pass_on says what each gets of the other's messages; the active is killed while it hands over."""
        path = self.socket_path("relay")
        Relay(self, path, self.data / "handover.sock", pass_on)
        self.new = self.run_toy(self.other, standby_of=path)
        self.wait_level(self.new, self.data)
        self.handover(self.data)
        self.assertEqual(self.active.wait(), -9)

    def assert_new_serves(self, epoch):
        self.assertEqual(self.wait_phase(self.new, "running")["epoch"], epoch)
        self.served = self.client()
        self.assert_serves()
        self.assert_one_journal(self.data, self.other)

    def test_the_grant_is_told_and_its_record_does_not_come(self):
        """M7 overtakes the record's batch, and the active dies between: the standby looks for itself (R5 b)."""
        self.assert_serves()
        state = {"answered": False, "granted": False}

        def pass_on(from_active, message):
            if message.type == ANSWER:
                state["answered"] = True
            if from_active and message.type == GRANT:
                state["granted"] = True
                self.active.send(9)
                return [message]
            return [] if from_active and message.type == BATCH and state["answered"] else [message]
        self.hand_over_through(pass_on)
        self.assertTrue(state["granted"])
        self.assert_new_serves(epoch=2)

    def test_the_record_of_a_term_without_a_batch_is_found_and_its_name_is_no_next_one(self):
        """The standby's last batch is of the term before: the name of the one that M4 ends is not of a later one (R5)."""
        self.restart_to_die_in_its_grant()
        state = {"answered": False, "term": None}

        def pass_on(from_active, message):
            if from_active and message.type == FINAL:
                state["term"] = (message.epoch, struct.unpack_from("<Q", message.body, 8)[0])
            if message.type == ANSWER:
                state["answered"] = True
            return [] if from_active and state["answered"] else [message]
        self.hand_over_through(pass_on)
        self.assertEqual(state["term"], (2, 1))  # the term, and that of its last batch
        self.assert_new_serves(epoch=3)
        self.assertNotIn("handover.not_this_time", self.new.err())

    def test_who_has_let_go_of_its_promise_gives_its_word(self):
        """A name above the record's term: the standby lets go. The next start finds the record, and removes that name (R5, M11)."""
        self.restart_to_die_in_its_grant()
        self.served = self.client()
        self.assert_serves()
        state = {"answered": False}
        burnt = self.data / "journal" / f"{3:016x}-{9:016x}.seg"  # as of a start that died before its header

        def pass_on(from_active, message):
            if message.type in (HELLO, ANSWER):
                state["answered"] = message.type == ANSWER
            if message.type == ANSWER:
                burnt.write_bytes(bytes(8192))
            return [] if from_active and state["answered"] else [message]
        self.hand_over_through(pass_on)
        wait_until(lambda: "handover.not_this_time" in self.new.err(), "the standby to let go")
        self.active = self.run_toy(self.data)
        self.assertEqual(self.wait_phase(self.active, "running")["epoch"], 4)
        self.assertFalse(burnt.exists())
        self.wait_level(self.new, self.data)
        self.served = self.client()
        self.assert_serves()
        self.handover(self.data, "--wait", check=0)  # the very process that the earlier record named
        self.assert_new_serves(epoch=5)


if __name__ == "__main__":
    main()
