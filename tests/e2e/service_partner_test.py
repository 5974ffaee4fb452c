"""The other directory of a handover is not what PARTNER says, or can't be looked at: nobody serves on a guess, the operator is
told once what it is, and what he does about it leads on. Real processes on one host."""
import os
import shutil

from cli_case import TOY, TOY_NEXT, process, signal
from handover_case import HandoverCase
from workdir import main, wait_until

FORCED = 1 << 32
LOOKS = 60  # a status takes some milliseconds, a look comes each 20 or 50


class HandedOver(HandoverCase):
    """The first directory's term ended with a grant to the other one, whose instance has ended since."""

    def setUp(self):
        super().setUp()
        self.old = self.start()
        self.client().add(1, 1)
        self.new = self.standby()
        self.handover(self.data, "--wait", check=0)
        self.assertEqual(self.old.wait(), 0)
        self.wait_phase(self.new, "running")
        self.assertEqual(self.new.terminate(), 0)

    def refused(self, directory, *words):
        result = process.run(TOY, "run", "--dir", directory)
        self.assert_refused(result, 1, *words)

    def promote(self, child, directory, epoch):
        self.wait_phase(child, "following")
        wait_until(lambda: self.service("promote", "--force", where=str(directory), check=None).status == 0, "the promotion")
        self.assertEqual(self.wait_phase(child, "running")["epoch"] // FORCED, epoch // FORCED)
        self.assertEqual(self.client().add(1, 1), "2 1 2")

    def test_another_journal_in_the_partner_decides_nothing(self):
        shutil.rmtree(self.other)
        stranger = self.run_toy(self.other, program=TOY_NEXT)
        self.wait_phase(stranger, "running")
        said = f"PARTNER names {self.other}, where another journal has been begun since"
        self.refused(self.data, said, "promote by force")
        self.assertEqual(stranger.terminate(), 0)
        self.refused(self.data, said)
        (self.data / "PARTNER").rename(self.root / "PARTNER")
        again = self.run_toy(self.data, standby_of=self.root / "nobody")
        self.promote(again, self.data, FORCED)
        self.assertFalse((self.other / "PARTNER").exists())  # a stranger is not fenced

    def test_the_same_term_in_both_is_for_the_operator_to_choose(self):
        shutil.rmtree(self.other)
        shutil.copytree(self.data, self.other, ignore=shutil.ignore_patterns("*.sock*"))
        self.refused(self.data, f"epoch 1 was begun here and in {self.other}", "which of the two is the authority can't be known")
        self.refused(self.other, f"{self.other} is a copy of the other directory")
        again = self.run_toy(self.data, standby_of=self.other)
        self.promote(again, self.data, FORCED)
        self.refused(self.other, f"fenced: {self.data}")


class NotToBeLookedAt(HandoverCase):
    def lines(self, child, event):
        return [line for line in child.err().splitlines() if event in line]

    def test_a_successor_whose_directory_is_gone_is_told_of_once(self):
        old = self.run_toy(self.data, env={"TOY_STOP_IN": "granted"})
        self.wait_phase(old, "running")
        self.client().add(1, 1)
        new = self.standby(env={"TOY_DIE_IN": "taking"})
        asked = self.spawn(process.program("baton"), "service", "handover", str(self.data))
        self.assertEqual(new.wait(), -signal.SIGKILL)
        self.wait_stopped(old)
        away = self.root / "away"
        os.rename(self.other, away)
        old.send(signal.SIGCONT)
        wait_until(lambda: self.lines(old, "handover.successor_unknown"), "a word of it")
        for _ in range(LOOKS):
            self.status_of(self.data)
        said = self.lines(old, "handover.successor_unknown")
        self.assertEqual(len(said), 1, said)
        self.assertIn("promote SOCKET --force", said[0])
        os.rename(away, self.other)
        self.assertEqual(asked.wait(), 1)
        self.assertEqual(self.wait_phase(old, "running")["epoch"], 3)
        self.assertEqual(self.client().add(1, 1), "2 1 2")

    def test_an_active_whose_journal_can_not_be_read_is_told_of_once(self):
        old = self.run_toy(self.data)
        self.wait_phase(old, "running")
        self.client().add(1, 1)
        new = self.standby(env={"TOY_STOP_IN": "answered"})
        asked = self.spawn(process.program("baton"), "service", "handover", str(self.data), "--max-gap", "60s")
        self.wait_stopped(new)
        old.send(signal.SIGSTOP)
        self.wait_stopped(old)
        away = self.root / "away"
        os.rename(self.data / "journal", away)
        (self.data / "journal").write_text("none\n")
        new.send(signal.SIGCONT)  # it answers, hears nothing, and looks
        wait_until(lambda: self.lines(new, "handover.look "), "a word of it")
        for _ in range(LOOKS):
            self.status_of(self.other)
        said = self.lines(new, "handover.look ")
        self.assertEqual(len(said), 1, said)
        (self.data / "journal").unlink()
        os.rename(away, self.data / "journal")
        old.send(signal.SIGCONT)
        self.assertEqual(asked.wait(), 0)
        self.assertEqual(self.wait_phase(new, "running")["epoch"], 2)
        self.assertEqual(old.wait(), 0)
        self.assertEqual(self.client().add(1, 1), "2 1 2")


if __name__ == "__main__":
    main()
