"""The other directory of a handover is not what PARTNER says, or can't be looked at: nobody serves on a guess, the operator is
told once what it is, and what he does about it leads on. Real processes on one host."""
import shutil

from cli_case import TOY, TOY_NEXT, process
from service_handover_test import HandoverCase
from workdir import main, wait_until

FORCED = 1 << 32


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


if __name__ == "__main__":
    main()
