"""A service's snapshots without their journal: refused, unless the operator names the root; then a new journal goes on
after that snapshot (S1)."""
import shutil

from cli_case import ServiceCase, flip, signal, tree_digest
from workdir import main

OTHER = "0123456789abcdef" * 2


class TrustRoot(ServiceCase):
    def setUp(self):
        super().setUp()
        child = self.start()
        self.add(100)
        self.assertEqual(child.terminate(), 0, child.err())  # with a snapshot
        self.digest = self.door("digest", self.data, "-o", "json", check=0).json()["state_digest"]
        self.root_digest = self.baton("snapshot", "ls", self.data, "-o", "json", check=0).json_lines()[0]["root"]
        self.journal = self.root / "journal-elsewhere"

    def add(self, count):
        client = self.client()
        for number in range(count):
            self.assertNotIn("error", client.add(number % 7, number))
        client.close()

    def lose_the_journal(self):
        (self.data / "journal").rename(self.journal)

    def refused(self, *options, status=1):
        child = self.start(*options, ready=False)
        self.assertEqual(child.wait(), status, child.err())
        return child.err()

    def check(self, child, epoch):
        self.assertEqual((child.ready["seq"], child.ready["hydrate"]["snapshot_seq"]), (100, 100), child.err())
        self.assertEqual(child.ready["epoch"], epoch, "higher than any epoch that the lost journal can have had")
        self.assertEqual(self.status()["state_digest"], self.digest)

    def test_it_is_refused_by_the_name_of_the_root_and_then_goes_on_after_it(self):
        self.lose_the_journal()
        before = tree_digest(self.data / "snapshots")
        self.assertIn(f"--trust-root {self.root_digest}", self.refused())
        self.assertIn("no snapshot that can be read has the root", self.refused("--trust-root", OTHER))
        self.assertIn("is no root", self.refused("--trust-root", "newest"))
        self.assertEqual(tree_digest(self.data / "snapshots"), before)

        child = self.start("--trust-root", self.root_digest)
        self.check(child, 2**32 + 1)
        self.assertIn("engine.journal_restored after_seq=100", child.err())
        child.send(signal.SIGKILL)  # before the first entry: the header alone names the root
        child.wait()
        child = self.start()
        self.check(child, 2**32 + 2)
        self.add(50)
        child.send(signal.SIGKILL)
        child.wait()

        # One state from the journal's own words; its first entry is the one after the snapshot.
        found = self.door("replay", self.data, "-o", "json", check=0).json()
        self.assertEqual((found["seq"], found["hydrate"]["snapshot_seq"]), (150, 100))
        seqs = [entry["seq"] for entry in self.baton("journal", "dump", self.data / "journal", check=0).json_lines()
                if "seq" in entry]
        self.assertEqual(min(seqs), 101)
        self.baton("journal", "verify", self.data / "journal", check=0)
        self.door("verify", self.data, check=0)
        child = self.start("--trust-root", self.root_digest)  # left in the unit: nothing to do
        self.assertEqual((child.ready["seq"], self.status()["state_digest"]), (150, found["state_digest"]))
        self.add(1)
        self.service("snapshot", check=0)
        self.add(1)
        self.assertEqual(child.terminate(), 0, child.err())
        self.assertEqual(self.start().ready["hydrate"]["snapshot_seq"], 152)

    def test_a_backup_comes_to_life_in_an_empty_directory(self):
        backup = self.root / "backup"
        self.baton("snapshot", "export", self.data, backup, check=0)
        shutil.rmtree(self.data)
        self.data.mkdir()
        self.baton("snapshot", "import", backup, self.data / "snapshots", check=0)
        self.assertIn(self.root_digest, self.refused())
        self.check(self.start("--trust-root", self.root_digest), 2**32 + 1)

    def test_a_damaged_one_is_not_gone_on_from(self):
        self.lose_the_journal()
        chunks, = (self.data / "snapshots").glob("*.chunks")
        flip(chunks, 20)
        self.assertIn("can't be used", self.refused("--trust-root", self.root_digest, status=11))
        self.assertEqual(list((self.data / "journal").glob("*.seg")), [])

    def test_beside_its_journal_the_journal_decides(self):
        child = self.start("--trust-root", OTHER)
        self.check(child, 2)


if __name__ == "__main__":
    main()
