"""snapshot-sim itself: it sees snapshots that are broken on purpose, its traces repeat, and it does what it says."""
import os
import pathlib
import re
import sys

import process
from workdir import TestCase, main

PROGRAM = pathlib.Path(os.environ["BATON_BUILD"]) / "tests" / "snapshot-sim"
SEEDS = 1000
BREAKS = {"no-chunks-flush", "no-directory-flush", "no-chunk-digest", "chunks-removed-first",
          "no-flush-of-what-a-start-builds-on", "replay-past-what-recovery-found",
          "prune-before-the-root-is-durable", "tracker-loses-a-page", "no-flush-of-an-images-chunks",
          "no-digest-of-an-images-chunk", "adds-to-one-before-a-failed-image",
          "parent-pruned-before-its-increment", "increment-applied-on-whatever-is-older",
          "parent-of-a-pinned-image-pruned"}


def sim(*arguments, check=0):
    return process.run(PROGRAM, *arguments, check=check, timeout=600)


class Breaks(TestCase):
    def test_every_break_is_tried_here(self):
        self.assertEqual(set(sim("--break", "list", check=0).stdout.split()), BREAKS)

    def test_broken_snapshots_are_caught_within_a_thousand_seeds(self):
        for name in sorted(BREAKS):
            with self.subTest(name):
                broken = sim("--break", name, "--seeds", str(SEEDS), check=1)
                repeat = re.search(r"^repeat: \S+ (--seed (\d+) .*)$", broken.stderr, re.MULTILINE)
                self.assertTrue(repeat, broken.stderr)
                print(f"{name}: seed {repeat.group(2)}: {broken.stderr.splitlines()[0]}", file=sys.stderr)
                again = sim(*repeat.group(1).split(), check=1)
                self.assertEqual(again.stderr, broken.stderr)
                sim("--seed", repeat.group(2))  # the same run, unbroken


class Traces(TestCase):
    def trace(self, *arguments):
        return re.search(r"^trace=(\w{32})$", sim(*arguments).stdout, re.MULTILINE).group(1)

    def test_the_same_seeds_give_the_same_trace_and_others_another(self):
        for faults in ("none", "eio,enospc,split,late-lock", "rot,misdirect,lying"):
            first = self.trace("--seed", "7", "--seeds", "3", "--faults", faults)
            self.assertEqual(self.trace("--seed", "7", "--seeds", "3", "--faults", faults), first)
            self.assertNotEqual(self.trace("--seed", "8", "--seeds", "3", "--faults", faults), first)

    def test_it_does_what_it_says(self):
        counted = dict(re.findall(r"(\w+)=(\d+)", sim("--seeds", "80").stdout))
        for what in ("opens", "from", "fell_back", "resumed", "kept", "refused", "published", "failed", "full", "read_whole", "damaged",
                     "broken", "kills", "power_cuts", "landed_late", "errors", "no_space", "splits", "rotten",
                     "spoiled", "lies", "misdirected", "images", "increments", "stopped", "from_image", "pins",
                     "exports", "imports", "mended"):
            self.assertGreater(int(counted[what]), 0, what)

    def test_wrong_usage_is_refused(self):
        for arguments in (["--seed"], ["--seed", "x"], ["--frobnicate", "1"], ["--faults", "fire"], ["--break", "all"]):
            self.assertIn("see --help", sim(*arguments, check=2).stderr)
        self.assertIn("--faults LIST", sim("--help").stdout)


if __name__ == "__main__":
    main()
