"""Either side of a handover, or both, end or stand still at a step of it, or at any moment: one serves, and has everything. On one host."""
import os
import random
import sys
import time

from cli_case import TOY, TOY_NEXT, ToyClient, process, signal
from handover_case import HandoverCase, stopped
from workdir import main, wait_until


class Deaths(HandoverCase):
    """Either side ends at a step, by kill -9."""

    def begin(self, old_env=None, new_env=None):
        self.start_two(old_env, new_env)
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
        self.asked = self.ask_handover(self.data)

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
        self.wait_stopped(self.old)
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
            asked = self.ask_handover(active, "--timeout", "5s")
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


if __name__ == "__main__":
    main()
