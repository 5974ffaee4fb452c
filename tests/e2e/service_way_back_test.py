"""The way back: from a new version to the old one, also when the new one decided otherwise, or is dead (R13).

The toy's 1.1.0 is the new version; with --lie yes --lie-from N it decides otherwise from entry N on: one more is added."""
import pathlib
import shutil

from cli_case import TOY, TOY_NEXT, process, signal
from handover_case import HandoverCase
from workdir import main, wait_until

CHANGED = ("--lie", "yes", "--lie-from", "6")


class WayBackCase(HandoverCase):
    """The old version was the active in self.data, the new one is it in self.other; the old one follows again."""

    def upgrade(self, *options, env=None):
        self.run_toy(self.data)
        wait_until(lambda: self.status_of(self.data), "the old version")
        self.total = 0
        self.add(4)
        self.new = self.standby(self.other, self.data, *options, env=env)
        self.handover(self.data, "--wait", check=0)
        self.wait_phase(self.new, "running")

    def add(self, count, lie=0):
        """Each adds 1, and `lie`, and is acknowledged with the sum so far."""
        client = self.client()
        for _ in range(count):
            self.total += 1 + lie
            self.assertEqual(client.add(1, 1).split()[1:], ["1", str(self.total)])
        client.close()

    def old_follows(self, *options, program=TOY, env=None):
        """Started again where it was: level, whether it decides as the new one does or not."""
        self.old = self.standby(self.data, self.other, *options, program=program, env=env)
        return self.old

    def diverged(self):
        return wait_until(lambda: self.status_of(self.data)["follow"].get("diverged"), "the difference to be found")

    def assert_old_serves(self, epoch=None):
        status = self.wait_phase(self.old, "running")
        self.assertEqual(status["instance"]["version"], "1.0.0")
        if epoch:
            self.assertEqual(status["epoch"], epoch)
        self.add(2)


class Paths(WayBackCase):
    """Which of the two ways a handover takes, and what it says of it."""

    def test_while_both_decide_the_same_it_is_a_cutover(self):
        self.upgrade()
        self.add(4)
        self.old_follows()
        answer = self.handover(self.other, "--wait", check=0).json()["handover"]
        self.assertEqual((answer["path"], answer["path_why"]), ("cutover", "the digests of both are equal"))
        self.assertNotIn("snapshot", answer)
        self.assert_old_serves(3)
        self.assert_one_journal(self.other, self.data)

    def test_once_they_differ_it_goes_through_a_snapshot_and_no_effect_is_taken_back(self):
        self.upgrade(*CHANGED)
        self.add(1)
        self.add(5, lie=1)
        self.old_follows()
        found = self.diverged()
        self.assertEqual(found["status"], "BATON_E_DIVERGED")
        self.assertRegex(found["why"], "^entries [1-6] to [0-9]+: the .*effect digest is [0-9a-f]+ now, it was [0-9a-f]+")
        self.add(3, lie=1)  # it goes on as a copy
        answer = self.handover(self.other, "--wait", check=0).json()["handover"]
        self.assertEqual((answer["path"], answer["state"]), ("snapshot", "fenced"))
        self.assertIn("to an older version, and entries ", answer["path_why"])
        self.assertEqual((answer["snapshot"]["seq"], answer["snapshot"]["form"]), (13, "portable"))
        self.assertGreater(answer["gap_ms"], 0)
        self.assertEqual(self.new.wait(), 0)
        self.assertIn("path=snapshot", self.new.err())
        self.assert_old_serves(3)
        self.assertIsNone(self.status_of(self.data)["follow"].get("diverged"))
        self.old.kill()
        self.old = self.run_toy(self.data)  # what it was given is what it starts from
        self.assert_old_serves(4)
        self.assertEqual(self.status_of(self.data)["hydrate"]["snapshot_seq"], 13)
        self.assertEqual(self.old.terminate(), 0)
        self.assert_one_journal(self.other, self.data)

    def test_a_difference_in_the_state_alone_is_found_by_the_handover_which_then_takes_the_other_path(self):
        self.upgrade("--lie", "silently", "--lie-from", "6")
        self.add(4)
        self.old_follows()
        answer = self.handover(self.other, "--wait", check=0).json()["handover"]
        self.assertEqual(answer["path"], "snapshot")
        self.assertIn("the two differ after entry 8, in the state digest", answer["path_why"])
        self.assertEqual(answer["try"], 2)
        self.assert_old_serves(3)

    def test_a_path_that_was_asked_for_is_taken_or_refused(self):
        self.upgrade(*CHANGED)
        self.add(1)
        self.old_follows()
        answer = self.handover(self.other, "--path", "snapshot", "--wait", check=0).json()["handover"]
        self.assertEqual((answer["path"], answer["path_why"]), ("snapshot", "asked for"))
        self.assert_old_serves(3)

    def test_a_cutover_alone_is_refused_and_the_new_one_serves_on(self):
        self.upgrade(*CHANGED)
        self.add(1)
        self.add(2, lie=1)
        self.old_follows()
        self.diverged()
        self.assert_refused(self.handover(self.other, "--path", "cutover"), 1, "effect digest")
        self.add(2, lie=1)
        self.handover(self.other, "--wait", check=0)
        self.assert_old_serves(3)

    def test_a_newer_version_that_differs_ends_unless_it_is_told_to_copy(self):
        """Forward it is a mistake, or it is declared: then the same way leads there."""
        self.run_toy(self.data)
        wait_until(lambda: self.status_of(self.data), "the old version")
        self.total = 0
        self.add(8)
        ended = self.run_toy(self.other, *CHANGED, program=TOY_NEXT, standby_of=self.data)
        self.assertEqual(ended.wait(), 1)
        self.assertIn("effect digest is", ended.err())
        new = self.standby(self.other, self.data, *CHANGED, "--if-diverged", "copy")
        wait_until(lambda: self.status_of(self.other)["follow"].get("diverged"), "the difference to be found")
        self.assert_refused(self.handover(self.data), 1, "effect digest is")
        self.handover(self.data, "--path", "snapshot", "--wait", check=0)
        self.wait_phase(new, "running")
        self.add(2, lie=1)

    def test_a_copy_that_was_killed_goes_on_as_a_copy(self):
        self.upgrade(*CHANGED)
        self.add(1)
        self.add(4, lie=1)
        self.old_follows()
        self.diverged()
        self.old.kill()
        self.add(2, lie=1)
        self.old_follows()
        self.assertIn("engine.diverged", self.old.err())
        self.handover(self.other, "--wait", check=0)
        self.assert_old_serves(3)

    def test_after_finalize_there_is_no_way_back(self):
        self.upgrade()
        self.service("finalize", where=str(self.other), check=0)
        self.add(1)
        self.old = self.run_toy(self.data, standby_of=self.other)
        self.assertEqual(self.old.wait(), 1)
        self.assertIn("writes schema 2, finalized", self.old.err())
        self.add(1)

    def test_there_and_back_with_what_differs_time_and_again(self):
        """Each version decides as it does while it is the active; nothing that one decided is decided again."""
        self.upgrade(*CHANGED)
        self.add(1)
        for epoch in (3, 5):
            self.add(3, lie=1)
            self.old_follows()
            self.diverged()
            self.assertEqual(self.handover(self.other, "--wait", check=0).json()["handover"]["path"], "snapshot")
            self.assertEqual(self.new.wait(), 0)
            self.assert_old_serves(epoch)
            self.new = self.standby(self.other, self.data, *CHANGED, "--if-diverged", "copy")
            self.handover(self.data, "--path", "snapshot", "--wait", check=0)
            self.assertEqual(self.old.wait(), 0)
            self.wait_phase(self.new, "running")
        self.add(1, lie=1)
        self.assert_one_journal(self.data, self.other)


class Deaths(WayBackCase):
    """Either side is killed on the way through the snapshot."""

    def begin(self, old_env=None, new_env=None):
        self.upgrade(*CHANGED, env=new_env)
        self.add(1)
        self.add(4, lie=1)
        self.old_follows(env=old_env)
        self.diverged()
        self.asked = self.handover(self.other)

    def assert_new_serves_on(self):
        self.assertEqual(self.old.wait(), -signal.SIGKILL)
        self.assertEqual(self.asked.status, 1)
        self.add(2, lie=1)
        self.old_follows()
        self.handover(self.other, "--wait", check=0)
        self.assert_old_serves()
        self.assert_one_journal(self.other, self.data)

    def test_old_dies_ready(self):
        self.begin(old_env={"TOY_DIE_IN": "ready"})
        self.assert_new_serves_on()

    def test_old_dies_loading(self):
        self.begin(old_env={"TOY_DIE_IN": "loading"})
        self.assert_new_serves_on()

    def test_old_dies_answered(self):
        self.begin(old_env={"TOY_DIE_IN": "answered"})
        self.assert_new_serves_on()

    def test_old_dies_taking(self):
        """The grant stands: the new one goes on in a term of its own (R6)."""
        self.begin(old_env={"TOY_DIE_IN": "taking"})
        self.assert_new_serves_on()

    def test_old_dies_serving(self):
        """Its header is durable: it starts by itself, from the snapshot."""
        self.begin(old_env={"TOY_DIE_IN": "serving"})
        self.assertEqual(self.old.wait(), -signal.SIGKILL)
        self.assertEqual(self.new.wait(), 0)
        self.old = self.run_toy(self.data)
        self.assert_old_serves()
        self.assert_one_journal(self.other, self.data)

    def assert_new_recovers(self):
        self.assertEqual(self.new.wait(), -signal.SIGKILL)
        self.new = self.run_toy(self.other, *CHANGED, program=TOY_NEXT)
        self.wait_phase(self.new, "running")
        self.add(2, lie=1)
        self.wait_level(self.old, self.other)
        self.handover(self.other, "--wait", check=0)
        self.assert_old_serves()
        self.assert_one_journal(self.other, self.data)

    def test_new_dies_packing(self):
        self.begin(new_env={"TOY_DIE_IN": "packing"})
        self.assert_new_recovers()

    def test_new_dies_granted(self):
        """The record stands, and names the old one: it finds it by itself."""
        self.begin(new_env={"TOY_DIE_IN": "granted"})
        self.assertEqual(self.new.wait(), -signal.SIGKILL)
        self.assert_old_serves(3)
        self.assert_one_journal(self.other, self.data)

    def test_new_dies_stopped(self):
        self.begin(new_env={"TOY_DIE_IN": "stopped"})
        self.assert_new_recovers()


class DeadVersion(WayBackCase):
    """The new version is dead, and does not come back as an active."""

    def kill_new(self, *options):
        self.upgrade(*options)
        self.add(1)
        self.add(4, lie=1 if options else 0)
        self.new.kill()

    def test_the_old_one_goes_on_where_it_decides_the_same(self):
        self.kill_new()
        self.old = self.run_toy(self.other)
        self.assert_old_serves(3)

    def refused(self):
        refused = process.run(TOY, "run", "--dir", self.other)
        self.assert_refused(refused, 1, "the low half of the effect digest is ", " now, it was ",
                            "run the build that wrote it", "`baton snapshot --schema N`")
        self.assertRegex(refused.stderr, "entries [1-6] to [0-9]+: ")

    def test_what_was_released_is_not_decided_again(self):
        """There is no checkpoint in it: the batches themselves say what their writer had released."""
        self.kill_new(*CHANGED)
        self.refused()
        self.new = self.run_toy(self.other, *CHANGED, program=TOY_NEXT)  # the first choice: the new one again
        self.wait_phase(self.new, "running")
        self.add(1, lie=1)
        self.old_follows()
        self.handover(self.other, "--wait", check=0)
        self.assert_old_serves()

    def test_a_new_one_that_can_not_serve_writes_its_state_for_the_old_one(self):
        self.kill_new(*CHANGED)
        self.refused()
        out = self.root / "out"
        out.mkdir()
        wrote = self.door("snapshot", *CHANGED, "--schema", "1", "--out", out, "-o", "json", self.other, program=TOY_NEXT,
                          check=0).json()
        for path in pathlib.Path(out).iterdir():
            (self.other / "snapshots").mkdir(exist_ok=True)
            shutil.copy(path, self.other / "snapshots")
        self.refused()  # it is there, but nobody vouches for it
        self.old = self.run_toy(self.other, "--trust-root", wrote["root"])
        self.assert_old_serves(3)
        self.old.kill()
        self.old = self.run_toy(self.other)  # the journal names it now
        self.assert_old_serves(4)


    def test_without_any_build_of_the_new_one_what_it_did_is_given_up_by_name(self):
        """The old one writes its state before the interval, and begins a journal of its own, 2^32 above: reported as such."""
        self.kill_new(*CHANGED)
        self.refused()
        last = self.root / "last"
        wrote = self.door("snapshot", "--to", "5", "--schema", "1", "--out", last / "snapshots", "-o", "json", self.other,
                          program=TOY)
        if wrote.status != 0:
            (last / "snapshots").mkdir(parents=True)
            wrote = self.door("snapshot", "--to", "5", "--schema", "1", "--out", last / "snapshots", "-o", "json",
                              self.other, program=TOY, check=0)
        self.old = self.run_toy(last, "--trust-root", wrote.json()["root"])
        status = self.wait_phase(self.old, "running")
        self.assertGreater(status["epoch"], 1 << 32)
        self.total = 5
        self.add(1)


class Follow(WayBackCase):
    def test_a_standby_is_told_whom_to_follow(self):
        """The active went on elsewhere, and its standby was not there to see it."""
        self.start()
        self.client().add(1, 1)
        third = self.standby(self.root / "third")
        third.send(signal.SIGSTOP)
        second = self.standby()
        nonce = self.status_of(self.other)["instance"]["nonce"]
        self.handover(self.data, "--to", nonce, "--wait", check=0)
        self.wait_phase(second, "running")
        shutil.rmtree(self.data)  # so that it does not find the way by itself
        third.send(signal.SIGCONT)
        self.service("follow", self.other, where=str(third.directory), check=0)
        self.wait_level(third, self.other)
        self.assert_refused(self.service("follow", self.data, where=str(self.other)), 1, "this instance serves")


if __name__ == "__main__":
    main()
