"""Handovers to and fro, disturbed and not, in small. The rigs are those of `scripts/campaign handover` and `pingpong`.

Give the class as an argument to run one part: Disturbed, InARow, Campaign."""
import os
import signal
import sys

import process
from workdir import SOURCE, TestCase, data_dir, main, seed, wait_until

sys.path.insert(0, str(SOURCE / "scripts" / "rig"))
import footprint  # noqa: E402
import judge  # noqa: E402
import pingpong  # noqa: E402


class Rig(TestCase):
    def setUp(self):
        self.work = self.workdir()
        self.seed = seed() % (1 << 31)

    def command(self, campaign, *options, programs=None):
        return [sys.executable, SOURCE / f"scripts/rig/{campaign}.py", "--bin", programs or os.environ["BATON_BIN"],
                "--work", self.work, "--seed", self.seed, "--verbose", "--budget", 120, *options]

    def run_good(self, campaign, *options):
        result = process.run(*self.command(campaign, "--json", "-", *options), timeout=600)
        self.assertEqual(result.status, 0, result)
        found = result.json()
        self.assertTrue(found["good"])
        run, = found["runs"]
        self.assertEqual((run["lost"], run["doubled"], run["reordered"], run["refused"]), (0, 0, 0, 0))
        for digest in ("state_digest", "effect_digest"):
            self.assertEqual(run[digest], run[f"{digest}_uninterrupted"])
        self.assertEqual(list(self.work.iterdir()), [])
        return run


class Disturbed(Rig):
    def test_killed_stopped_and_cut_anywhere_one_of_the_two_serves_and_has_everything(self):
        run = self.run_good("handover", "--rounds", 6, "--rounds-per-run", 6)
        self.assertEqual(run["moved"] + run["stayed"] + run["fell_back"], 6)


class InARow(Rig):
    def test_handovers_in_a_row_leave_nothing_behind(self):
        run = self.run_good("pingpong", "--rounds", 36, "--restart-every", 28)
        self.assertEqual((run["epoch"], run["restarts"]), (37, 1))
        if run["under_load"] == 36:  # a busy machine is slower than its load; the process that is not restarted has 18
            self.assertTrue(run["footprints"])
        self.assertEqual(run["flat"], True if run["footprints"] else None)

    def test_recorded_flow_goes_on_across_handovers(self):
        if not data_dir():
            self.skipTest("no recorded order flow: set BATON_DATA")
        run = self.run_good("pingpong", "--rounds", 6, "--data", data_dir())
        self.assertIsNone(run["flat"])
        self.assertIn("not compared: too few rounds", run["compared"])


class Campaign(Rig):
    """The campaigns find what they are there to find, and leave nothing behind."""

    def test_a_release_that_decides_by_the_clock_is_found_and_its_repetition_named(self):
        """1.2.0 under the name of 1.1.0."""
        programs = self.workdir("programs")
        for name in os.listdir(os.environ["BATON_BIN"]):
            (programs / name).symlink_to(os.path.join(os.environ["BATON_BIN"], name))
        for name, version in (("1.0.0", "1.0.0"), ("1.1.0", "1.2.0")):  # the versions' window is not what is to find it
            planted = programs / f"matching-engine-{name}"
            planted.unlink()
            planted.write_text('#!/bin/sh\n[ "$1" = run ] && set -- "$@" --compatible warn\n'
                               f'exec "{os.environ["BATON_BIN"]}/matching-engine-{version}" "$@"\n')
            planted.chmod(0o755)
        result = process.run(*self.command("pingpong", "--rounds", 60, "--io", "threads", programs=programs),
                             timeout=280)
        self.assertEqual(result.status, 1, result)
        self.assertIn("differ", result.stderr)
        self.assertIn(f"scripts/campaign pingpong --rounds 60 --restart-every 100 --seed {self.seed} --io threads",
                      result.stderr)
        self.assertEqual(len(list(self.work.iterdir())), 1)

    def test_terminated_it_has_ended_its_processes_and_removed_its_files(self):
        child = self.spawn(*self.command("handover", "--rounds", 50))
        wait_until(lambda: any("exchange-load" in line for line in process.about(self.work, "handover.py")), "the load")
        self.assertEqual(child.terminate(), 128 + signal.SIGTERM)
        self.assertEqual(process.about(self.work, "handover.py"), [])
        self.assertEqual(list(self.work.iterdir()), [])

    def test_a_command_before_an_earlier_one_of_its_client_is_reordered(self):
        self.assertEqual(judge.reordered({(1, 1): [10], (2, 2): [11], (1, 3): [12], (1, 4): [13]}), 0)
        self.assertEqual(judge.reordered({(1, 1): [10], (1, 3): [11], (1, 2): [12], (2, 2): [9]}), 1)

    def test_what_grows_is_not_flat(self):
        def samples(grows):
            return [{"resident_kib": 16000 + grows * number, "descriptors": 20} for number in range(100)]
        tolerance = {"resident_kib": 1024, "descriptors": 2}
        self.assertTrue(footprint.compare(samples(0), tolerance)["flat"])
        self.assertFalse(footprint.compare(samples(20), tolerance)["flat"])
        self.assertIsNone(footprint.compare(samples(0)[:10], tolerance))

    def test_flat_is_said_only_of_what_was_compared(self):
        flat, grows = {"flat": True}, {"flat": False}
        self.assertEqual(pingpong.tell_compared({"a": flat, "b": flat}, 2, 90), (True, "memory and descriptors flat"))
        self.assertEqual(pingpong.tell_compared({"a": flat}, 3, 40), (
            True, "memory and descriptors flat in 1 of 3 series of samples, too few in the others"))
        self.assertEqual(pingpong.tell_compared({"a": flat, "b": grows}, 2, 90), (False, "memory and descriptors NOT flat"))
        self.assertEqual(pingpong.tell_compared({}, 4, 6), (
            None, "memory and descriptors not compared: too few rounds under load (6)"))


if __name__ == "__main__":
    main()
