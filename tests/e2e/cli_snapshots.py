"""`baton snapshot` on the snapshots of a real service: pins, retention, comparison, a backup and its return."""
import os
import re
import shutil
import subprocess

from cli_case import BATON, ServiceCase, flip, process, tree_digest
from workdir import main


class Snapshots(ServiceCase):
    def take(self, rounds, *options):
        """A life with one snapshot a round, three keys counted up between them; returns their seqs, oldest first."""
        child = self.start("--keep-snapshots", "2", *options)
        client = self.client()
        seqs = []
        for number in range(rounds):
            for key in range(3):
                self.assertNotIn("error", client.add(key, number + 1))
            seqs.append(self.service("snapshot", "-o", "json", check=0).json()["snapshot"]["last_seq"])
            if number == 0:
                self.baton("snapshot", "pin", self.data, "--seq", seqs[0], check=0)
        client.add(0, 0)  # proves the last name durable: the service prunes
        client.close()
        self.assertEqual(child.terminate(), 0, child.err())
        return seqs

    def listed(self, where=None):
        return {found["seq"]: found for found in self.baton("snapshot", "ls", where or self.data, "-o", "json",
                                                            check=0).json_lines()}

    def test_a_running_service_keeps_what_is_pinned(self):
        seqs = self.take(5)
        found = self.listed()
        self.assertIn(seqs[0], found)
        self.assertTrue(found[seqs[0]]["pinned"])
        self.assertNotIn(seqs[1], found)
        self.assertNotIn(seqs[2], found)
        self.baton("snapshot", "verify", self.data, check=0)
        self.baton("snapshot", "prune", self.data, "--keep-days", "0", check=0)
        self.assertIn(seqs[0], self.listed())
        self.baton("snapshot", "unpin", self.data, "--seq", seqs[0], check=0)
        self.baton("snapshot", "prune", self.data, "--keep-days", "0", check=0)
        self.assertEqual(len(self.listed()), 2)

    def test_beside_a_running_service_looking_is_fine_and_changing_is_refused(self):
        child = self.start()
        client = self.client()
        client.add(1, 1)
        self.service("snapshot", check=0)
        backup = self.root / "backup"
        self.baton("snapshot", "verify", self.data, check=0)
        self.baton("snapshot", "export", self.data, backup, check=0)
        self.baton("snapshot", "diff", self.data, self.data, check=0)
        before = tree_digest(self.data / "snapshots")
        self.assert_refused(self.baton("snapshot", "prune", self.data), 7, "LOCK")
        self.assert_refused(self.baton("snapshot", "import", backup, self.data), 7, "LOCK")
        self.assertEqual(tree_digest(self.data / "snapshots"), before)
        client.close()
        self.assertEqual(child.terminate(), 0, child.err())

    def test_a_lost_snapshot_comes_back_from_its_backup_and_is_trusted(self):
        seqs = self.take(3)
        newest = max(self.listed())
        backup = self.root / "orders.snapshot"
        told = self.baton("snapshot", "export", f"{self.data}@{newest}", backup, "-o", "json", check=0).json()
        self.assertEqual(told["bytes"], backup.stat().st_size)
        if shutil.which("sha256sum"):  # somebody else's opinion
            done = subprocess.run(["sha256sum", "-c", "orders.snapshot.sha256"], cwd=self.root, check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual(done.returncode, 0, done.stdout)
        kept = tree_digest(self.data / "snapshots")
        shutil.rmtree(self.data / "snapshots")
        self.baton("snapshot", "import", backup, self.data, check=0)
        self.assertEqual(list(self.listed()), [newest])
        now = tree_digest(self.data / "snapshots")
        self.assertEqual({name: kept[name] for name in now}, now)  # the very bytes
        self.assertGreaterEqual(newest, seqs[-1])
        child = self.start()
        self.assertEqual(child.ready["hydrate"]["snapshot_seq"], newest)
        client = self.client()
        self.assertEqual(client.add(1, 1), "11 1 7")
        client.close()
        self.assertEqual(child.terminate(), 0, child.err())

    def test_damaged_chunks_are_replaced_from_a_backup_by_force(self):
        self.take(2)
        newest = max(self.listed())
        backup = self.root / "backup"
        self.baton("snapshot", "export", self.data, backup, check=0)
        flip(next((self.data / "snapshots").glob(f"{newest:016x}-*.chunks")), 3)
        self.assert_refused(self.baton("snapshot", "verify", self.data, "--seq", newest), 11, ".chunks")
        self.assert_refused(self.baton("snapshot", "export", self.data, self.root / "second"), 11, ".chunks")
        self.assertFalse((self.root / "second").exists())
        self.assertFalse((self.root / "second.sha256").exists())
        self.assert_refused(self.baton("snapshot", "import", backup, self.data), 1, "--force")
        self.baton("snapshot", "import", backup, self.data, "--force", check=0)
        self.baton("snapshot", "verify", self.data, check=0)

    def test_a_file_that_is_no_whole_export_is_refused_and_changes_nothing(self):
        self.take(1)
        backup, target = self.root / "backup", self.root / "target"
        self.baton("snapshot", "export", self.data, backup, check=0)
        whole = backup.read_bytes()
        os.unlink(f"{backup}.sha256")
        target.mkdir()
        changed = bytearray(whole)
        changed[-1] ^= 1
        for wrong in (b"", b"no snapshot at all", whole[:47], whole[:-1], whole + b"x", bytes(changed)):
            backup.write_bytes(wrong)
            self.assert_refused(self.baton("snapshot", "import", backup, target), 11, "backup", "offset")
            self.assertEqual(list(target.iterdir()), [])
        self.assert_refused(self.baton("snapshot", "import", self.root / "nowhere", target), 1, "nowhere")
        backup.write_bytes(whole)
        self.baton("snapshot", "import", backup, target, check=0)

    def test_what_a_killed_import_had_brought_is_not_brought_again(self):
        """As a kill leaves it (where, is for the sweep): the first chunks, in the import's own partial file."""
        self.take(1)
        backup, target = self.root / "backup", self.root / "target"
        self.baton("snapshot", "export", self.data, backup, check=0)
        whole = max((self.data / "snapshots").glob("*.chunks"))
        target.mkdir()
        partial = target / whole.name.replace(".chunks", ".import.partial")
        partial.write_bytes(whole.read_bytes())
        done = self.baton("snapshot", "import", backup, target, "-o", "json", check=0)
        self.assertEqual(done.json()["kept_bytes"], whole.stat().st_size)
        self.assertIn("are here already", done.stderr)
        self.assertEqual((target / whole.name).read_bytes(), whole.read_bytes())
        self.assertEqual(len(list(target.iterdir())), 2)
        self.baton("snapshot", "verify", target, check=0)

        partial.write_bytes(b"junk")  # of an import that nobody wants any more
        self.baton("snapshot", "prune", target, check=0)
        self.assertFalse(partial.exists())

    def test_a_file_that_can_not_be_written_leaves_neither_file_nor_checksum(self):
        self.take(1)
        limited = process.run("sh", "-c", 'ulimit -f 1; trap "" XFSZ; exec "$@"', "sh", BATON, "snapshot", "export",
                              self.data, self.root / "backup", "--compress", "raw")
        self.assert_refused(limited, 1)
        self.assertEqual(sorted(p.name for p in self.root.iterdir() if p.name.startswith("backup")), [])
        for verb in ("ls", "info", "verify"):
            for form in ("json", "text"):
                self.assert_refused(process.run("sh", "-c", '"$@" >/dev/full', "sh", BATON, "snapshot", verb, self.data,
                                                "-o", form), 1, "stdout")

    def test_diff_says_what_changed_between_two(self):
        child = self.start()
        client = self.client()
        for key, delta in ((1, 5), (2, 5)):
            client.add(key, delta)
        first = self.service("snapshot", "-o", "json", check=0).json()["snapshot"]["last_seq"]
        for key, delta in ((2, 1), (3, 1)):
            client.add(key, delta)
        second = self.service("snapshot", "-o", "json", check=0).json()["snapshot"]["last_seq"]
        client.close()
        self.assertEqual(child.terminate(), 0, child.err())
        a, b = f"{self.data}@{first}", f"{self.data}@{second}"
        rows = self.baton("snapshot", "diff", a, b, "--rows", "-o", "json", check=0).json_lines()
        summary = rows.pop()
        self.assertFalse(summary["equal"])
        self.assertTrue(summary["same_schema"])
        counters = next(s for s in summary["sections"] if s["name"] == "counters")
        self.assertEqual((counters["added"], counters["removed"], counters["changed"]), (1, 0, 1))
        changes = {(r["change"], r["row"][0]) for r in rows if r["section"] == "counters"}
        self.assertEqual(changes, {("added", 3), ("changed_from", 2), ("changed_to", 2)})
        self.assertTrue(self.baton("snapshot", "diff", a, a, "-o", "json", check=0).json()["equal"])
        text = self.baton("snapshot", "diff", b, a, check=0).stdout
        self.assertTrue(re.search(r"counters +3 +2 +0 +1 +1", text), text)

    def test_the_table_is_for_people(self):
        self.take(2)
        self.baton("snapshot", "verify", self.data, check=0)
        lines = self.baton("snapshot", "ls", self.data, check=0).stdout.splitlines()
        for word in ("SEQ", "EPOCH", "FORM", "SIZE", "STORED", "TOOK", "AGE", "VERIFIED", "PINNED"):
            self.assertIn(word, lines[0])
        self.assertGreaterEqual(len(lines), 3)
        self.assertTrue(all(len(line) <= 140 for line in lines), lines)
        self.assertIn("portable", lines[1])
        info = self.baton("snapshot", "info", self.data, check=0).stdout
        self.assertIn("SECTION", info)
        for word in ("taken_by", "form_why"):
            self.assertIn(word, info)


if __name__ == "__main__":
    main()
