"""Cut off at random moments and taken up again, the matching engine ends as if nothing had happened.

The rig is that of `scripts/campaign cut`. Give the class as an argument to run one part: Hour, Orders, Small,
Images, Campaign."""
import os
import signal
import sys

import process
from workdir import SOURCE, TestCase, data_dir, main, seed, wait_until

CUTS = 5


def uring_works(directory):
    """Does this machine let us use io_uring? A container often does not."""
    return process.run(process.program("baton"), "journal", "append", "--io", "uring", directory / "probe",
                       input="").status == 0


class Rig(TestCase):
    def setUp(self):
        self.work = self.workdir()
        self.seed = seed() % (1 << 31)

    def command(self, *options, programs=None):
        return [sys.executable, SOURCE / "scripts/rig/cut.py", "--bin", programs or os.environ["BATON_BIN"],
                "--work", self.work, "--seed", self.seed, "--verbose", *options]

    def cut(self, backend, *options, cuts=CUTS):
        if backend == "uring" and not uring_works(self.workdir("probe")):
            self.skipTest("io_uring is not allowed here")
        result = process.run(*self.command("--io", backend, "--rounds", cuts, "--json", "-", *options), timeout=600)
        self.assertEqual(result.status, 0, result)
        found = result.json()
        self.assertTrue(found["good"])
        self.assertEqual(found["rounds"], cuts)
        run, = found["runs"]
        self.assertEqual((run["lost"], run["doubled"], run["refused"]), (0, 0, 0))
        self.assertEqual(run["state_digest"], run["state_digest_uninterrupted"])
        self.assertEqual(run["effect_digest"], run["effect_digest_uninterrupted"])
        self.assertGreater(run["fills"], 0)
        self.assertEqual(list(self.work.iterdir()), [])


class Hour(Rig):
    """The recorded hour."""

    def setUp(self):
        super().setUp()
        self.data = data_dir()
        if not self.data or not (self.data / "lobster-aapl-hour" / "messages.csv").is_file():
            self.skipTest("no recorded order flow: set BATON_DATA")

    def test_real_flow_cut_anywhere_ends_as_if_uninterrupted_on_io_uring(self):
        self.cut("uring", "--data", self.data)

    def test_real_flow_cut_anywhere_ends_as_if_uninterrupted_on_threads(self):
        self.cut("threads", "--data", self.data)


class Orders(Rig):
    """Generated flow, which has orders good till a time."""

    def test_orders_cut_anywhere_end_as_if_uninterrupted_on_io_uring(self):
        self.cut("uring")

    def test_orders_cut_anywhere_end_as_if_uninterrupted_on_threads(self):
        self.cut("threads")


class Small(Rig):
    """So little that it runs under the sanitizers too."""

    def test_few_orders_cut_three_times_end_as_if_uninterrupted(self):
        self.cut("threads", "--orders", 4000, cuts=3)


class Images(Rig):
    """Every snapshot is an image, but those of the newer version, which is pinned."""

    def test_cut_anywhere_engines_that_take_images_end_as_if_uninterrupted(self):
        self.cut("threads", "--orders", 30000, "--form", "image", cuts=8)


class Campaign(Rig):
    """The campaign finds what it is there to find, and leaves nothing behind."""

    def test_a_release_that_forgets_is_found_and_its_repetition_named(self):
        programs = self.workdir("programs")
        for name in os.listdir(os.environ["BATON_BIN"]):
            (programs / name).symlink_to(os.path.join(os.environ["BATON_BIN"], name))
        forgetful = programs / "matching-engine-1.1.0"
        forgetful.unlink()
        real = os.path.join(os.environ["BATON_BIN"], "matching-engine-1.1.0")
        forgetful.write_text('#!/bin/sh\n[ "$1" = run ] && rm -rf "$3"\n' f'exec "{real}" "$@"\n')
        forgetful.chmod(0o755)
        result = process.run(*self.command("--io", "threads", "--rounds", 2, "--orders", 6000, programs=programs),
                             timeout=280)
        self.assertEqual(result.status, 1, result)
        self.assertIn(f"scripts/campaign cut --rounds 2 --cuts-per-run 2 --seed {self.seed} --io threads --orders 6000",
                      result.stderr)
        self.assertIn("files kept in", result.stderr)
        self.assertEqual(len(list(self.work.iterdir())), 1)

    def test_terminated_it_has_ended_its_processes_and_removed_its_files(self):
        child = self.spawn(*self.command("--rounds", 50))
        wait_until(lambda: any("exchange-load" in line for line in process.about(self.work, "cut.py")), "the load")
        self.assertEqual(child.terminate(), 128 + signal.SIGTERM)
        self.assertEqual(process.about(self.work, "cut.py"), [])
        self.assertEqual(list(self.work.iterdir()), [])

    def test_missing_data_is_named(self):
        result = process.run(*self.command("--data", self.work / "nowhere"))
        self.assertEqual(result.status, 1)
        self.assertIn("no messages.csv", result.stderr)

    def test_help_has_examples(self):
        result = process.run(SOURCE / "scripts/campaign", "--help", check=0)
        self.assertIn("Examples:", result.stdout)

    def test_an_unknown_campaign_is_refused(self):
        result = process.run(SOURCE / "scripts/campaign", "mow")
        self.assertEqual(result.status, 1)
        self.assertIn("no such campaign", result.stderr)


if __name__ == "__main__":
    main()
