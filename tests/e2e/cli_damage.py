"""Damaged and torn journals: damage at or below what was acknowledged is refused, named and left alone; a torn tail is cut,
kept aside and told."""
import random
import shutil
import subprocess

from cli_case import BATON, BLOCK, CliCase, flip, last_block, overwrite, segments, tree_digest
from workdir import main, seed


class Damage(CliCase):
    def setUp(self):
        self.root = self.workdir()
        self.journal = self.root / "journal"

    def fill(self, rounds=3, lines=40):
        """Several epochs and batches, closed; returns the payloads."""
        expected = []
        for number in range(rounds):
            part = [f"{number}-{i}-" + "x" * 200 for i in range(lines)]
            self.append(self.journal, part)
            expected += part
        return expected

    def used_bytes(self, segment):
        return (last_block(segment) + 1) * BLOCK

    def test_a_flipped_bit_in_acknowledged_data_is_refused_everywhere_and_nothing_changes(self):
        self.fill()
        rng = random.Random(seed())
        for segment in segments(self.journal):
            # The last blocks are the close mark; what proves them is in the next epoch, and after the last there is none.
            limit = self.used_bytes(segment) - 2 * BLOCK if segment == segments(self.journal)[-1] \
                else self.used_bytes(segment)
            for offset in {0, 8, BLOCK, *(rng.randrange(limit) for _ in range(4))}:
                if offset >= limit:
                    continue
                with self.subTest(segment=segment.name, offset=offset):
                    flip(segment, offset)
                    before = tree_digest(self.journal)
                    try:
                        self.check_refused(segment, before)
                    finally:
                        flip(segment, offset)
        self.baton("journal", "verify", self.journal, check=0)

    def check_refused(self, segment, before):
        for arguments in (("verify",), ("stat",), ("append",), ("repair",)):
            result = self.baton("journal", *arguments, self.journal, input="more\n")
            self.assert_refused(result, 11, segment.name)
            self.assertRegex(result.stderr, r"offset \d+")
        found = self.baton("journal", "verify", "-o", "json", self.journal).json()
        self.assertFalse(found["ok"])
        self.assertEqual(found["journals"][0]["status"], "damaged")
        self.assertTrue(found["journals"][0]["error"]["file"].endswith(segment.name))
        self.assertIn("offset", found["journals"][0]["error"])
        after = {name: digest for name, digest in tree_digest(self.journal).items() if name in before}
        self.assertEqual(after, before)
        self.assertEqual([s.name for s in segments(self.journal)], [n for n in sorted(before) if n.endswith(".seg")])

    def test_a_missing_segment_is_damage(self):
        self.fill()
        victim = segments(self.journal)[1]
        shutil.move(victim, self.root / "aside")
        self.assert_refused(self.append(self.journal, ["more"], check=None), 11)
        shutil.move(self.root / "aside", victim)
        self.baton("journal", "verify", self.journal, check=0)

    def fill_and_kill(self):
        """Not closed: the end is open to doubt. With threads no write is in flight any more once the process is gone."""
        writer = self.spawn(BATON, "journal", "append", "--ack", "--io", "threads", self.journal, stdin=subprocess.PIPE)
        for number in range(1, 6):
            writer.popen.stdin.write(f"line {number}\n".encode())
            writer.popen.stdin.flush()
            writer.wait_for(f"durable {number}\n")
        writer.kill()
        return [f"line {number}" for number in range(1, 6)]

    def tear(self):
        segment = next(s for s in segments(self.journal) if last_block(s) >= 0)
        overwrite(segment, self.used_bytes(segment), b"\xa5" * BLOCK * 2)

    def test_a_torn_tail_is_told_then_repaired_by_the_next_append(self):
        expected = self.fill_and_kill()
        self.tear()
        for verb in ("verify", "stat"):
            self.assert_refused(self.baton("journal", verb, self.journal), 10)
        self.assertEqual(self.payloads(self.journal), expected)
        result = self.append(self.journal, ["after"], "-o", "json")
        self.assertIn("torn", result.stderr)
        report = result.json()["recovery"]
        self.assertGreater(report["torn_cut"], 0)
        self.assertEqual(report["acked_lost"], 0)
        with open(report["torn_kept_in"], "rb") as kept:
            self.assertIn(b"\xa5" * BLOCK, kept.read())
        self.assertEqual(self.payloads(self.journal), expected + ["after"])
        self.baton("journal", "verify", self.journal, check=0)

    def test_repair_cuts_a_torn_tail_and_keeps_its_bytes(self):
        expected = self.fill_and_kill()
        self.tear()
        report = self.baton("journal", "repair", "-o", "json", self.journal, check=0).json()
        self.assertTrue(report["repaired"])
        self.assertEqual(report["lost_entries_at_least"], 0)
        self.assertTrue(report["kept_in"])
        self.baton("journal", "verify", self.journal, check=0)
        self.assertEqual(self.payloads(self.journal), expected)
        self.assertIn("nothing to repair", self.baton("journal", "repair", self.journal, check=0).stdout)

    def test_bytes_after_a_close_mark_prove_nothing_and_harm_nothing(self):
        expected = self.fill(rounds=1)
        self.tear()
        self.baton("journal", "verify", self.journal, check=0)
        self.append(self.journal, ["after"])
        self.assertEqual(self.payloads(self.journal), expected + ["after"])
        self.baton("journal", "verify", self.journal, check=0)

    def test_repair_with_accept_loss_cuts_at_the_damage_and_deletes_nothing(self):
        expected = self.fill()
        victim = segments(self.journal)[1]
        flip(victim, BLOCK + 100)
        bytes_before = sum(path.stat().st_size for path in self.journal.rglob("*.seg"))
        report = self.baton("journal", "repair", "--accept-loss", "-o", "json", self.journal, check=0).json()
        self.assertGreaterEqual(report["lost_entries_at_least"], 1)
        self.assertTrue(report["kept_in"])
        self.baton("journal", "verify", self.journal, check=0)
        left = self.payloads(self.journal)
        self.assertEqual(left, expected[:len(left)])
        self.assertEqual(len(left), report["last_seq"])
        self.assertLess(len(left), len(expected))
        bytes_after = sum(path.stat().st_size for path in self.journal.rglob("*")
                          if path.is_file() and path.name not in ("HINT", "LOCK", "BALLAST"))
        self.assertGreaterEqual(bytes_after, bytes_before - BLOCK)
        self.append(self.journal, ["goes on"])
        self.assertEqual(self.payloads(self.journal), left + ["goes on"])

    def test_garbage_in_place_of_a_journal_is_kept_aside_and_never_an_entry(self):
        garbage = b"\x11" * (1 << 20)
        self.journal.mkdir()
        (self.journal / "0000000000000001-0000000000000001.seg").write_bytes(garbage)
        self.assert_refused(self.baton("journal", "verify", self.journal), 10)
        self.append(self.journal, ["x"])
        self.assertEqual(self.payloads(self.journal), ["x"])
        kept = b"".join(path.read_bytes() for path in (self.journal / "torn").iterdir())
        self.assertGreaterEqual(kept.count(b"\x11"), len(garbage) - BLOCK)


if __name__ == "__main__":
    main()
