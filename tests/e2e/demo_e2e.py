"""scripts/demo, but for its build step: the rig it runs, over the programs under test."""
import os
import signal
import sys

import process
from workdir import SOURCE, TestCase, main, seed

NUMBERS = ("orders_sent", "orders_acked", "lost", "doubled", "reordered", "drain_ms", "hydrate_ms", "gap_ms")
SMALL = ("--quick", "--orders", 40000, "--rate", 5000)
STEPS = [("upgrade", "1.0.0", "1.1.0", "done"), ("refused upgrade", "1.1.0", "1.2.0", "refused"),
         ("rollback", "1.1.0", "1.0.0", "done"), ("restart", "1.0.0", "1.1.0", "done")]


class Demo(TestCase):
    def setUp(self):
        self.work = self.workdir()
        self.seed = seed() % (1 << 31)

    def command(self, *options, programs=None):
        return [sys.executable, SOURCE / "scripts/rig/demo.py", "--bin", programs or os.environ["BATON_BIN"],
                "--work", self.work, "--seed", self.seed, *options]

    def test_quick_loses_nothing_and_says_so_in_one_json_object(self):
        result = process.run(*self.command(*SMALL, "--json", "-"), timeout=280, check=0)
        self.assertEqual(len(result.stdout.splitlines()), 1)
        summary = result.json()
        for name in NUMBERS:
            self.assertIsInstance(summary[name], (int, float), name)
        # On a busy machine the orders may be over before the last step.
        for phase in ("before", "during", "after"):
            for metric in ("p50", "p99", "p99.9"):
                if phase == "before" or summary["latency"][phase]["orders"] > 0:
                    self.assertGreater(summary["latency"][phase][metric], 0)
        self.assertGreater(summary["orders_acked"], 0)
        self.assertEqual(summary["orders_acked"], summary["orders_sent"])
        self.assertEqual((summary["lost"], summary["doubled"], summary["reordered"]), (0, 0, 0))
        self.assertEqual((summary["digests_equal"], summary["one_writer"]), (True, True))
        self.assertEqual([tuple(step[key] for key in ("step", "from", "to", "outcome")) for step in summary["steps"]],
                         STEPS)
        self.assertRegex(summary["steps"][1]["why"],
                         r"the two differ after entry \d+, in the|entries \d+ to \d+: .* digest is \w+ now, it was")
        self.assertGreater(summary["steps"][2]["orders_of_new_version"], 0)
        for step in summary["steps"]:
            if step["under_load"]:
                self.assertGreater(step["gap_ms"], 0)
        self.assertEqual(list(self.work.iterdir()), [])

    def test_a_release_that_forgets_fails_and_its_files_are_kept(self):
        programs = self.workdir("programs")
        for name in os.listdir(os.environ["BATON_BIN"]):
            (programs / name).symlink_to(os.path.join(os.environ["BATON_BIN"], name))
        forgetful = programs / "matching-engine-1.1.0"
        forgetful.unlink()
        real = os.path.join(os.environ["BATON_BIN"], "matching-engine-1.1.0")
        forgetful.write_text('#!/bin/sh\n[ "$1" = run ] && rm -rf "$3"\n' f'exec "{real}" "$@"\n')
        forgetful.chmod(0o755)
        result = process.run(*self.command(*SMALL, "--json", "-", programs=programs), timeout=280)
        self.assertEqual(result.status, 1, result)
        self.assertGreater(result.json()["lost"], 0)
        self.assertFalse(result.json()["digests_equal"])
        self.assertIn("files kept in", result.stderr)
        self.assertEqual(len(list(self.work.iterdir())), 1)

    def test_terminated_it_has_ended_its_processes_and_removed_its_files(self):
        child = self.spawn(*self.command(*SMALL))
        self.wait_until(lambda: any("exchange-load" in line for line in process.about(self.work, "demo.py")), "the load")
        self.assertEqual(child.terminate(), 128 + signal.SIGTERM)
        self.assertEqual(process.about(self.work, "demo.py"), [])
        self.assertEqual(list(self.work.iterdir()), [])

    def test_missing_data_is_named(self):
        result = process.run(*self.command("--data", self.work / "nowhere"))
        self.assertEqual(result.status, 1)
        self.assertIn("no messages.csv", result.stderr)

    def test_help_has_examples(self):
        result = process.run(SOURCE / "scripts/demo", "--help", check=0)
        self.assertIn("Examples:", result.stdout)


if __name__ == "__main__":
    main()
