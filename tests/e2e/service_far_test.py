"""Two hosts (R12): the two sides know each other by TCP alone. Either dies, or both, or the connection is cut: they go on by themselves
when they see each other, wait for the operator when they don't, and a promotion by force is known for ever. Real processes, loopback."""
from cli_case import TOY, TOY_NEXT, process, signal
from handover_case import HandoverCase
from network import Forwarder, tcp
from workdir import free_port, main, wait_until

FORCED = 1 << 32


class FarCase(HandoverCase):
    """self.old in self.data, self.new in self.other: as on two hosts. Each has an address that a restart keeps."""

    def setUp(self):
        super().setUp()
        self.ports = {self.data: free_port(), self.other: free_port()}
        self.sockets = {self.data: self.socket_path("a"), self.other: self.socket_path("b")}

    def run_far(self, directory, of=None, env=None, *options):
        program = TOY if directory == self.data else TOY_NEXT
        self.listen = self.sockets[directory]
        return self.run_toy(directory, "--peer-listen", f"127.0.0.1:{self.ports[directory]}", "--peer-plaintext",
                            *options, program=program, standby_of=of, env=env)

    def address(self, directory):
        return f"127.0.0.1:{self.ports[directory]}"

    def client_of(self, directory):
        self.listen = self.sockets[directory]
        return self.client()

    def start_two(self, old_env=None, new_env=None, *old_options, of=None):
        self.old = self.run_far(self.data, None, old_env, *old_options)
        self.wait_phase(self.old, "running")
        self.client_of(self.data).add(1, 1)
        self.new = self.run_far(self.other, of or self.address(self.data), new_env)
        self.wait_level(self.new, self.data)

    def begin(self, old_env=None, new_env=None, of=None, wait=True):
        self.start_two(old_env, new_env, of=of)
        if wait:
            self.asked = self.handover(self.data)

    def phase_of(self, directory):
        status = self.status_of(directory)
        return status["phase"] if status else None

    def wait_one_of(self, directory, *phases):
        def there():
            phase = self.phase_of(directory)
            return phase if phase in phases else None
        return wait_until(there, f"{directory} to be one of {phases}")

    def wait_undecided(self, child):
        return self.wait_phase(child, "undecided")["undecided"]

    def promote(self, directory, *options, check=0):
        return self.service("promote", "--force", "-o", "json", *options, where=str(directory), check=check)


class Deaths(FarCase):
    def test_old_dies_with_the_grant_out_and_says_it_again(self):
        """The record is durable, M7 was not sent: the standby waits, and sees no directory; the next process repeats the grant."""
        self.begin(old_env={"TOY_DIE_IN": "granted"})
        self.assertEqual(self.old.wait(), -signal.SIGKILL)
        # M7 may have been on its way: the record's batch is one. So the new one serves, or can't know.
        if self.wait_one_of(self.other, "running", "undecided") == "undecided":
            again = self.run_far(self.data)
            self.wait_phase(self.new, "running")
            self.wait_phase(again, "following")
            self.wait_level(again, self.other)
        self.assertEqual(self.status_of(self.other)["epoch"], 2)
        self.assertEqual(self.client_of(self.other).add(1, 1), "2 1 2")
        self.assert_one_journal(self.data, self.other)

    def test_old_dies_before_the_record(self):
        self.begin(old_env={"TOY_DIE_IN": "stopped"})
        self.assertEqual(self.old.wait(), -signal.SIGKILL)
        again = self.run_far(self.data)
        self.wait_phase(again, "running")
        self.wait_level(self.new, self.data)
        self.assertEqual(self.client_of(self.data).add(1, 1), "2 1 2")

    def test_new_dies_with_the_grant_and_gives_its_word(self):
        """Nobody began a term by it. A restarted standby will not act on it either: the old one goes on, two epochs later (M11)."""
        self.begin(new_env={"TOY_DIE_IN": "taking"}, wait=False)
        asked = self.ask_handover(self.data)
        self.assertEqual(self.new.wait(), -signal.SIGKILL)
        seen = self.wait_undecided(self.old)
        self.assertEqual(seen["other"]["directory"], str(self.other))
        self.assertEqual((seen["here"]["epoch"], seen["here"]["seq"]), (1, 1))
        again = self.run_far(self.other, self.address(self.data))
        self.assertEqual(self.wait_phase(self.old, "running")["epoch"], 3)
        self.assertEqual(asked.wait(), 1)
        self.wait_level(again, self.data)
        self.assertEqual(self.client_of(self.data).add(1, 1), "2 1 2")
        self.handover(self.data, check=0)
        self.wait_phase(again, "running")
        self.assertEqual(self.client_of(self.other).add(1, 1), "3 1 3")
        self.assert_one_journal(self.data, self.other)

    def test_both_die_with_the_grant_and_nobody_began(self):
        """Neither acts alone; when both see each other, the old directory is the authority."""
        self.begin(old_env={"TOY_STOP_IN": "granted"}, new_env={"TOY_DIE_IN": "taking"}, wait=False)
        asked = self.ask_handover(self.data)
        wait_until(lambda: "reached=granted" in self.old.err(), "the grant")
        self.old.kill()
        self.new.kill()
        asked.wait()
        again = self.run_far(self.data)
        seen = self.wait_undecided(again)
        self.assertEqual(seen["here"]["highest_header"], 1)
        self.assertEqual(len(seen["choices"]), 3)
        wait_until(lambda: "handover.undecided" in again.err(), "its line in the log")
        new = self.run_far(self.other, self.address(self.data))
        self.assertEqual(self.wait_phase(again, "running")["epoch"], 3)
        self.wait_level(new, self.data)
        self.assertEqual(self.client_of(self.data).add(1, 1), "2 1 2")

    def test_new_dies_serving_with_nothing_proven(self):
        """Its header of the new term stands there: its directory is the authority, once the other one has said that it is fenced."""
        self.begin(new_env={"TOY_DIE_IN": "serving"}, wait=False)
        asked = self.ask_handover(self.data)
        self.assertEqual(self.new.wait(), -signal.SIGKILL)
        again = self.run_far(self.other)
        status = self.wait_phase(again, "running")
        self.assertGreaterEqual(status["epoch"], 2)
        asked.wait()
        self.assertEqual(self.client_of(self.other).add(1, 1), "2 1 2")
        wait_until(lambda: not self.old.running(), "the old one to end")
        back = self.run_far(self.data, self.address(self.other))
        self.wait_level(back, self.other)
        self.assert_one_journal(self.data, self.other)

    def test_the_old_one_alone_waits_and_follows_when_the_new_one_is_heard(self):
        """It finds the grant; the successor serves, and says so."""
        self.begin()
        self.assertEqual(self.asked.status, 0)
        self.assertEqual(self.old.wait(), 0)
        self.wait_phase(self.new, "running")
        self.assertEqual(self.client_of(self.other).add(1, 1), "2 1 2")
        again = self.run_far(self.data)
        self.wait_phase(again, "following")
        self.wait_level(again, self.other)
        self.handover(self.other, check=0)
        self.assertEqual(self.wait_phase(again, "running")["epoch"], 3)
        self.assert_one_journal(self.data, self.other)


class OneHost(HandoverCase):
    """The same questions where the locks can be looked at, and the other side lives."""

    def test_new_dies_serving_and_the_old_one_is_its_standby(self):
        """Its header stands, nothing is proven, and the other side lives: that one is asked, and says that it follows (R7)."""
        self.start_two(None, {"TOY_DIE_IN": "serving"}, "--after-handover", "standby")
        self.asked = self.handover(self.data)
        self.assertEqual(self.new.wait(), -signal.SIGKILL)
        again = self.run_toy(self.other, program=TOY_NEXT)
        self.wait_phase(again, "running")
        self.wait_level(self.old, self.other)
        self.assertEqual(self.client().add(1, 1), "2 1 2")
        self.assert_one_journal(self.data, self.other)

    def test_new_dies_taking_and_gives_its_word(self):
        """A restarted standby holds the lock, and the grant does not name it: the old one goes on (M11)."""
        self.start_two(old_env={"TOY_STOP_IN": "granted"}, new_env={"TOY_DIE_IN": "taking"})
        asked = self.ask_handover(self.data)
        self.assertEqual(self.new.wait(), -signal.SIGKILL)
        self.wait_stopped(self.old)
        again = self.run_toy(self.other, program=TOY_NEXT, standby_of=self.data)
        wait_until(lambda: self.status_of(self.other), "the standby")
        self.old.send(signal.SIGCONT)
        # The standby follows, and is level, before the old one has begun its term by that word.
        wait_until(lambda: self.status_of(self.data)["epoch"] == 3, "the old one's term")
        self.wait_level(again, self.data)
        self.assertIn("handover.word", self.old.err())
        self.assertEqual(asked.wait(), 1)
        self.assertEqual(self.client().add(1, 1), "2 1 2")
        self.assert_one_journal(self.data, self.other)

    def test_no_force_beside_a_successor_that_lives(self):
        """It was granted the authority, and takes it when it goes on: nobody else may."""
        self.start_two(new_env={"TOY_STOP_IN": "taking"})
        asked = self.ask_handover(self.data)
        self.wait_stopped(self.new)
        refused = self.service("promote", "--force", where=str(self.data), check=None)
        self.assert_refused(refused, 1, "an instance lives in")
        self.new.send(signal.SIGCONT)
        self.assertEqual(self.old.wait(), 0)
        self.assertEqual(asked.wait(), 0)
        self.assertEqual(self.wait_phase(self.new, "running")["epoch"], 2)

    def test_no_force_beside_an_active_that_lives_and_was_never_heard(self):
        """It stands still, so the standby's new process has not heard it, and no handover has left a note of it."""
        self.old = self.run_toy(self.data)
        self.wait_phase(self.old, "running")
        self.client().add(1, 1)
        new = self.standby()
        self.wait_level(new, self.data)
        new.kill()
        self.old.send(signal.SIGSTOP)
        self.wait_stopped(self.old)
        again = self.run_toy(self.other, program=TOY_NEXT, standby_of=self.data)
        wait_until(lambda: self.status_of(self.other), "the standby")
        refused = self.service("promote", "--force", where=str(self.other), check=None)
        self.assert_refused(refused, 1, "an instance lives in")
        self.old.send(signal.SIGCONT)
        self.wait_level(again, self.data)

    def test_after_a_force_the_other_directory_starts_as_a_standby_only(self):
        """The dead one is started again, by a supervisor that knows nothing: it must not serve beside the one that was promoted."""
        self.start_two()
        self.old.kill()
        wait_until(lambda: not self.status_of(self.other)["follow"]["connected"], "the end to be seen")
        high = self.other / "journal" / f"{1 << 63:016x}-{99:016x}.seg"
        high.write_bytes(b"")

        def promote():
            return self.service("promote", "--force", where=str(self.other), check=None)
        # The kernel lets a killed one's LOCK go a little late (J10): until then it counts as one that lives.
        wait_until(lambda: "none can be forced above" in promote().stderr, "the refusal of an epoch that has no room above it")
        high.unlink()
        wait_until(lambda: promote().status == 0, "the promotion")
        forced = self.wait_phase(self.new, "running")["epoch"]
        self.assertEqual(forced // FORCED, 1)
        refused = process.run(TOY, "run", "--dir", self.data)
        self.assert_refused(refused, 1, f"fenced: {self.other}")
        again = self.run_toy(self.data, standby_of=self.other)
        self.wait_level(again, self.other)
        self.handover(self.other, check=0)
        self.assertEqual(self.wait_phase(again, "running")["epoch"], forced + 1)

    def test_one_that_died_between_the_force_and_its_term_may_begin(self):
        """The other directory says that it is fenced, and this one has no header of its own: neither would start."""
        self.start_two()
        self.old.kill()
        self.new.kill()
        (self.other / "PARTNER").write_text(f"{self.data}\n")
        (self.data / "PARTNER").write_text(f"{self.other}\nfenced_by {FORCED + 1}\n")
        self.assert_refused(process.run(TOY, "run", "--dir", self.data), 1, f"fenced: {self.other}")
        again = self.run_toy(self.other, program=TOY_NEXT)
        self.assertEqual(self.wait_phase(again, "running")["epoch"], FORCED + 2)
        self.assertEqual(self.client().add(1, 1), "2 1 2")

    def test_one_that_waits_for_its_partner_decides_when_that_one_dies(self):
        """The successor lives, and says nothing: the old one waits. When it has died, nobody is left to ask: both locks decide (R7)."""
        self.start_two(old_env={"TOY_DIE_IN": "granted"}, new_env={"TOY_STOP_IN": "taking"})
        self.handover(self.data)
        self.assertEqual(self.old.wait(), -signal.SIGKILL)
        self.wait_stopped(self.new)
        again = self.run_toy(self.data)
        self.wait_phase(again, "undecided")
        self.new.kill()
        self.assertEqual(self.wait_phase(again, "running")["epoch"], 3)
        self.assertEqual(self.client().add(1, 1), "2 1 2")
        self.wait_level(self.standby(), self.data)
        self.assert_one_journal(self.data, self.other)


class Partition(FarCase):
    """The connection is cut. self.net stands for the network, in both directions."""

    def setUp(self):
        super().setUp()
        self.net = Forwarder(tcp(self.ports[self.data]))
        self.addCleanup(self.net.close)

    def begin(self, **keywords):
        super().begin(of=f"127.0.0.1:{self.net.port}", **keywords)

    def test_a_cut_before_the_record_costs_nothing(self):
        self.begin(wait=False)
        self.net.cut()
        self.assertEqual(self.client_of(self.data).add(1, 1), "2 1 2")
        self.net.heal()
        self.wait_level(self.new, self.data)

    def test_a_standby_is_promoted_by_force_and_says_so_for_ever(self):
        self.begin(wait=False)
        self.assert_refused(self.promote(self.other, check=None), 1, "the active is there, and is connected")
        refused = self.service("promote", where=str(self.other), check=None)
        self.assert_refused(refused, 1, "only by force")
        self.old.kill()
        wait_until(lambda: not self.status_of(self.other)["follow"]["connected"], "the cut to be seen")
        answer = self.promote(self.other).json()["promotion"]
        self.assertEqual((answer["forced"], answer["forced_promotions"]), (True, 1))
        status = self.wait_phase(self.new, "running")
        forced = status["epoch"]  # above every name there: a standby has prepared the next one after a second
        self.assertEqual((forced // FORCED, status["forced_promotions"]), (1, 1))
        self.assertIn("handover.forced_promotion", self.new.err())
        self.assertEqual(self.client_of(self.other).add(1, 1), "2 1 2")
        self.assertEqual(self.new.terminate(), 0)
        said = self.baton("journal", "verify", self.other, check=0)
        self.assertIn("promoted by force 1 time", said.stdout)
        again = self.run_far(self.other)
        self.assertEqual(self.wait_phase(again, "running")["epoch"], forced + 1)
        self.assertEqual(self.client_of(self.other).add(1, 1), "3 1 3")

    def test_the_side_with_the_lower_epoch_fences_itself_when_the_network_heals(self):
        """Both served: what the promotion by force says it risks. The old one learns it, tells what only it has, and never answers again."""
        self.begin(wait=False)
        self.net.cut()
        wait_until(lambda: not self.status_of(self.other)["follow"]["connected"], "the cut to be seen")
        late = self.client_of(self.data)
        self.assertEqual(late.add(1, 10), "2 1 11")
        self.old.send(signal.SIGSTOP)  # it serves on, for all that the other one can see
        self.wait_stopped(self.old)
        self.promote(self.other)
        self.wait_phase(self.new, "running")
        self.assertEqual(self.client_of(self.other).add(1, 1), "2 1 2")
        self.old.send(signal.SIGCONT)
        self.assertEqual(self.old.wait(), 1)
        self.assertIn("handover.only_here from_seq=2 to_seq=2", self.old.err())
        self.assertIn("entries 2 to 2 stand only here", self.old.err())
        self.assertIsNone(late.receive())
        refused = process.run(TOY, "run", "--dir", self.data)
        self.assert_refused(refused, 1, f"fenced: {self.other}")
        verified = self.baton("journal", "verify", self.data, self.other)
        self.assert_refused(verified, 1, "two writers after entry 1")
        self.assertIn("forced", verified.stderr)
        back = self.run_far(self.data, self.address(self.other))
        self.wait_phase(back, "following")
        self.assertEqual(self.client_of(self.other).add(1, 1), "3 1 3")
        # It has another tail: nothing of it is thrown away, and nothing is put behind it.
        wait_until(lambda: not back.running() or "error" in self.status_of(self.data)["follow"], "the difference to be seen")

    def test_one_that_never_heard_its_active_tells_it_of_the_force(self):
        """Its process began when the connection was cut: all it knows of the old one is where it was told to follow."""
        self.begin(wait=False)
        self.net.cut()
        self.new.kill()
        again = self.run_far(self.other, f"127.0.0.1:{self.net.port}")
        wait_until(lambda: self.status_of(self.other), "the standby")
        self.promote(self.other)
        self.wait_phase(again, "running")
        self.assertTrue(self.old.running())
        self.net.heal()
        self.assertEqual(self.old.wait(), 1)
        self.assertIn("fenced: ", self.old.err())

    def test_undecided_and_the_operator_decides_for_the_old_one(self):
        self.begin(new_env={"TOY_DIE_IN": "taking"}, wait=False)
        asked = self.ask_handover(self.data)
        self.assertEqual(self.new.wait(), -signal.SIGKILL)
        self.wait_undecided(self.old)
        self.promote(self.data)
        self.assertEqual(self.wait_phase(self.old, "running")["epoch"] // FORCED, 1)
        asked.wait()
        self.assertEqual(self.client_of(self.data).add(1, 1), "2 1 2")

    def begin_and_cut_in_taking(self, *options):
        """The grant has come; the new one stands still before its term begins, and the old one can't hear of that."""
        self.start_two(None, {"TOY_STOP_IN": "taking"}, *options, of=f"127.0.0.1:{self.net.port}")
        self.asked = self.ask_handover(self.data)
        self.wait_stopped(self.new)
        self.net.cut()
        self.wait_undecided(self.old)

    def test_the_successor_that_says_it_serves_has_taken_the_grant(self):
        """M8 is lost, and the next that is heard says the same: no other writer, but the one that it handed over to."""
        self.begin_and_cut_in_taking("--after-handover", "standby")
        self.new.send(signal.SIGCONT)
        self.wait_phase(self.new, "running")
        self.wait_level(self.old, self.other)
        self.assertNotIn("handover.fenced", self.old.err())
        self.assertEqual(self.asked.wait(), 0)
        self.assertEqual(self.client_of(self.other).add(1, 1), "2 1 2")
        self.assert_one_journal(self.data, self.other)

    def test_one_that_goes_on_by_force_says_so_to_the_successor(self):
        """Both may act: the operator was told so. The one that took the grant late hears of the other, and ends."""
        self.begin_and_cut_in_taking()
        self.promote(self.data)
        self.assertEqual(self.wait_phase(self.old, "running")["epoch"] // FORCED, 1)
        self.new.send(signal.SIGCONT)
        self.assertEqual(self.new.wait(), 1)
        self.assertIn("handover.fenced", self.new.err())
        self.assertIn("service.forced_epoch", self.old.err())
        self.assertEqual(self.client_of(self.data).add(1, 1), "2 1 2")
        self.asked.wait()

    def test_undecided_and_the_operator_decides_for_the_new_one(self):
        self.begin(old_env={"TOY_STOP_IN": "submitted"}, wait=False)
        self.ask_handover(self.data)
        wait_until(lambda: self.status_of(self.other)["follow"]["state"] == "answered", "the answer")
        self.net.cut()
        self.wait_undecided(self.new)
        self.old.kill()
        self.promote(self.other)
        self.assertEqual(self.wait_phase(self.new, "running")["epoch"] // FORCED, 1)
        self.assertEqual(self.client_of(self.other).add(1, 1), "2 1 2")
        self.net.heal()
        again = self.run_far(self.data)  # it finds a grant, or none; and hears of the one that serves
        wait_until(lambda: not again.running() or self.phase_of(self.data) == "following",
                   "the old one to follow, or to end")


class Orders(FarCase):
    def test_a_standby_refuses_an_epoch_below_the_highest_it_has_seen(self):
        """The old directory is started by mistake after the new one served: who has seen the later term follows it no more."""
        self.begin()
        self.assertEqual(self.old.wait(), 0)
        self.wait_phase(self.new, "running")
        self.assertEqual(self.client_of(self.other).add(1, 1), "2 1 2")
        third = self.root / "third"
        self.ports[third], self.sockets[third] = free_port(), self.socket_path("c")
        child = self.run_far(third, self.address(self.other))
        self.wait_level(child, self.other)
        self.new.kill()
        child.kill()
        again = self.run_far(self.data)
        self.wait_undecided(again)
        self.promote(self.data)
        self.wait_phase(again, "running")
        lower = self.run_far(third, self.address(self.other))
        new = self.run_far(self.other)
        wait_until(lambda: not new.running(), "the one with the lower epoch to end")
        self.assertIn("fenced", new.err())
        lower.kill()

    def test_a_run_that_was_overtaken_is_refused(self):
        self.begin(wait=False)
        self.handover(self.data, "--to", "0" * 32, "--run-epoch", "7")
        refused = self.handover(self.data, "--run-epoch", "6")
        self.assert_refused(refused, 1, "run epoch 6 is below 7")
        self.old.kill()
        self.old = self.run_far(self.data)
        self.wait_phase(self.old, "running")
        self.assertEqual(self.status_of(self.data)["run_epoch"], 7)
        self.wait_level(self.new, self.data)
        self.assertEqual(self.status_of(self.other)["run_epoch"], 7)  # it has heard of it (M10)
        self.assert_refused(self.handover(self.data, "--run-epoch", "6"), 1, "run epoch 6 is below 7")
        self.handover(self.data, "--run-epoch", "8", "--wait", check=0)
        self.assertEqual(self.wait_phase(self.new, "running")["epoch"], 3)


if __name__ == "__main__":
    main()
