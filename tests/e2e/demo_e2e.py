"""scripts/demo, but for its build step: the rig it runs, over the programs under test."""
import os
import signal
import sys

import process
from workdir import SOURCE, TestCase, main, seed

NUMBERS = ("orders_sent", "orders_acked", "lost", "doubled", "reordered", "drain_ms", "hydrate_ms", "gap_ms")
SMALL = ("--quick", "--rate", 1000, "--pace", 0.2)
MATCHING = "matching-engine"
# But for the kill, whose service the seed draws.
STEPS = [("upgrade", MATCHING, "1.0.0", "1.1.0", "done"), ("refused upgrade", MATCHING, "1.1.0", "1.2.0", "refused"),
         ("replacement", "order-service", "1.0.0", "1.0.0", "done"), ("replacement", "risk-engine", "1.0.0", "1.0.0", "done"),
         ("cut", "all three", None, None, "done"),
         ("rollback", MATCHING, "1.1.0", "1.0.0", "done"), ("restart", "all three", "1.0.0", "1.1.0", "done")]
# Says of one order that it was acked with another entry than it was.
LYING_LOAD = """#!{python}
import signal, subprocess, sys
child = subprocess.Popen([{real!r}, *sys.argv[1:]])
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
code = child.wait()
path = sys.argv[sys.argv.index("--acks-out") + 1]
lines = open(path).read().splitlines()
names = lines[0].split(",")
row = lines[1].split(",")
row[names.index("seq")] = "1"
lines[1] = ",".join(row)
open(path, "w").write("\\n".join(lines) + "\\n")
sys.exit(code)
"""


class Demo(TestCase):
    def setUp(self):
        self.work = self.workdir()
        self.seed = seed() % (1 << 31)

    def command(self, *options, programs=None):
        return [sys.executable, SOURCE / "scripts/rig/demo.py", "--bin", programs or os.environ["BATON_BIN"],
                "--work", self.work, "--seed", self.seed, *options]

    def test_quick_loses_nothing_and_says_so_in_one_json_object(self):
        timeline = self.workdir("out") / "timeline.svg"
        result = process.run(*self.command(*SMALL, "--json", "-", "--timeline", timeline), timeout=280, check=0)
        self.assertEqual(len(result.stdout.splitlines()), 1)
        summary = result.json()
        for name in NUMBERS:
            self.assertIsInstance(summary[name], (int, float), name)
        for phase in ("before", "during", "after"):
            for metric in ("p50", "p99", "p99.9"):
                self.assertGreater(summary["latency"][phase][metric], 0)
                self.assertGreater(summary[f"{metric}_{phase}_ms"], 0)
        self.assertGreater(summary["orders_acked"], 1000)
        self.assertEqual(summary["orders_acked"], summary["orders_sent"])
        self.assertEqual((summary["lost"], summary["doubled"], summary["reordered"]), (0, 0, 0))
        self.assertEqual((summary["digests_equal"], summary["effects_equal"], summary["one_writer"]), (True, True, True))
        self.assertEqual((summary["good"], summary["wrong"]), (True, {}))
        steps = summary["steps"]
        self.assertEqual([tuple(step[key] for key in ("step", "service", "from", "to", "outcome")) for step in steps],
                         [*STEPS[:4], ("kill", steps[4]["service"], None, None, "done"), *STEPS[4:]])
        for step in steps:
            self.assertTrue(step["under_load"])
            self.assertGreater(step["gap_ms"], 0)
        self.assertRegex(summary["steps"][1]["why"],
                         r"the two differ after entry \d+, in the|entries \d+ to \d+: .* digest is \w+ now, it was")
        self.assertGreater(summary["steps"][6]["orders_of_new_version"], 0)
        self.assertIn("SIGTERM", timeline.read_text())
        self.assertEqual(list(self.work.iterdir()), [])

    def test_an_answer_that_no_journal_knows_fails_it_and_its_files_are_kept(self):
        programs = self.workdir("programs")
        for name in os.listdir(os.environ["BATON_BIN"]):
            (programs / name).symlink_to(os.path.join(os.environ["BATON_BIN"], name))
        lying = programs / "exchange-load"
        lying.unlink()
        lying.write_text(LYING_LOAD.format(python=sys.executable, real=os.path.join(os.environ["BATON_BIN"], "exchange-load")))
        lying.chmod(0o755)
        result = process.run(*self.command(*SMALL, "--json", "-", programs=programs), timeout=280)
        self.assertEqual(result.status, 1, result)
        summary = result.json()
        self.assertEqual((summary["lost"], summary["good"]), (1, False))
        self.assertIn("the client was told", summary["wrong"]["acks"])
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
