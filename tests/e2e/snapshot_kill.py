"""A sample of `scripts/campaign snapshot`: services killed while they take snapshots, in their start, on a full disk."""
import os
import pathlib
import subprocess
import sys

import process
from workdir import SOURCE, TestCase, main, seed, wait_until

DENIED = 77


class SnapshotKill(TestCase):
    def setUp(self):
        self.work = self.workdir()
        self.seed = seed() % (1 << 31)

    def command(self, *options, programs=None):
        return [sys.executable, SOURCE / "scripts/rig/snapshot.py", "--bin", programs or os.environ["BATON_BIN"],
                "--work", self.work, "--seed", self.seed, "--io", "threads", "--verbose", *options]

    def kill(self, rounds, *options):
        result = process.run(*self.command("--rounds", rounds, "--kills-per-run", rounds, "--json", "-", *options),
                             timeout=280)
        if result.status == DENIED:
            self.skipTest(result.stderr.strip())
        self.assertEqual(result.status, 0, result)
        found = result.json()
        run, = found["runs"]
        self.assertTrue(found["good"])
        self.assertGreater(run["published"], 0)
        self.assertGreater(run["whole"], 0)
        self.assertEqual(list(self.work.iterdir()), [])
        return run

    def test_killed_under_load_each_snapshot_is_whole_and_each_start_right(self):
        self.assertGreater(self.kill(4, "--fs", "host")["starts_from_snapshot"], 0)

    def test_killed_on_an_ext4_that_fills_up_each_is_whole_and_the_next_succeeds(self):
        self.kill(4, "--fs", "ext4")

    def test_a_service_that_loses_its_snapshots_is_caught(self):
        build = pathlib.Path(os.environ["BATON_BIN"]).parent
        copy = self.workdir("programs")
        (copy / "bin").mkdir()
        (copy / "tests").mkdir()
        wrapper = copy / "tests" / "snapshot_kill_service"
        wrapper.write_text('#!/bin/sh\n[ "$1" = check ] && rm -rf "$2/snapshots"\n'
                           f'exec "{build}/tests/snapshot_kill_service" "$@"\n')
        wrapper.chmod(0o755)
        result = process.run(*self.command("--fs", "host", "--rounds", 3, programs=copy / "bin"), timeout=280)
        self.assertEqual(result.status, 1, result)
        self.assertRegex(result.stderr, "was published and is gone")
        self.assertIn(f"scripts/campaign snapshot --rounds 3 --kills-per-run 3 --seed {self.seed}", result.stderr)

    def test_terminated_it_has_ended_its_processes_and_removed_its_files(self):
        child = self.spawn(*self.command("--rounds", 1000, "--fs", "host"), stderr=subprocess.PIPE)
        wait_until(lambda: list(self.work.glob("snapshot-*/*/service-*/snapshots/*.manifest")), "the first snapshot")
        child.terminate()
        self.assertEqual(list(self.work.iterdir()), [])


if __name__ == "__main__":
    main()
