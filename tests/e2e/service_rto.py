"""The matching engine says how long a start would take, takes snapshots by that, and its state has a way to the older
build. The rig is that of `scripts/campaign rto`; whether the times fit is for the campaign, on a quiet machine."""
import json
import os
import sys

import process
from workdir import SOURCE, TestCase, main, seed

OLD, NEW = process.program("matching-engine-1.0.0"), process.program("matching-engine-1.1.0")


class Rto(TestCase):
    def setUp(self):
        self.work = self.workdir()
        self.json = self.work / "found.json"

    def campaign(self, *options):
        """Good or not is about times: the rows count here."""
        result = process.run(sys.executable, SOURCE / "scripts/rig/rto.py", "--bin", os.environ["BATON_BIN"], "--work",
                             self.work, "--seed", seed() % (1 << 31), "--io", "threads", "--json", self.json, *options,
                             timeout=280)
        self.assertIn(result.status, (0, 1), result)
        return json.loads(self.json.read_text())["rows"]

    def test_what_is_predicted_is_of_the_tail_that_the_next_start_replays(self):
        rows = self.campaign("--rounds", 2, "--entries", 4000, "--target", "0s")
        self.assertEqual(len(rows), 2)
        for row in rows:
            self.assertGreater(row["tail_entries"], 0)
            # The tail is of what was applied: the kill may take what was not durable of it.
            self.assertGreaterEqual(row["replayed"], row["durable_seq"])
            self.assertGreaterEqual(row["tail_entries"], row["durable_seq"])
            self.assertAlmostEqual(row["predicted_ms"], sum(row["parts"].values()), places=3)
            self.assertGreater(min(row["parts"][part] for part in ("read_ms", "apply_ms")), 0)
            self.assertGreaterEqual(row["parts"]["recover_ms"], 0)  # 0 where the lock alone may take as long
            self.assertEqual((row["snapshots"], row["from_snapshot"]), (0, False))
        self.assertGreater(rows[1]["tail_entries"], rows[0]["tail_entries"])

    def test_past_the_target_a_snapshot_is_taken_and_the_log_says_why(self):
        self.campaign("--rounds", 2, "--entries", 4000, "--target", "1ms", "--keep")
        kept, = [path for path in self.work.iterdir() if path.name.startswith("rto-")]
        log = (kept / "log").read_text()
        # By the target itself, or, when one for other builds is due by then too, as the one that goes before it.
        self.assertRegex(log, r'engine\.snapshot_due because="(predicted RTO" predicted_ms=\d+ .* target_ms=1 tail_entr'
                              r'|the RTO target would be passed while a portable one is packed")')
        self.assertIn("engine.rto_unreachable", log)  # no process starts in 1 ms

        # The state of real orders, in both schemas and to the build before.
        found = process.run(NEW, "baton", "verify", "--round-trip", kept / "data", "-o", "json", check=0).json()
        self.assertEqual([(s["schema"], s["canonical"]) for s in found["schemas"]], [(1, True), (2, True)])
        self.assertGreater(found["schemas"][0]["rows"], 100)
        out = self.work / "out"
        process.run(NEW, "baton", "snapshot", kept / "data", "--schema", "1", "--out", out, check=0)
        read = process.run(OLD, "baton", "verify", "--round-trip", next(out.glob("*.manifest")), "-o", "json",
                           check=0).json()
        self.assertEqual(read["schemas"][0]["state_digest"], found["schemas"][0]["state_digest"])


if __name__ == "__main__":
    main()
