"""A sample of `scripts/campaign kill`: writers killed with large writes in flight, each followed at once by the next."""
import os
import pathlib
import signal
import subprocess
import sys

import process
from workdir import SOURCE, TestCase, main, seed, wait_until

ROUNDS = 3
DENIED = 77


def uring_works(directory):
    """Does this machine let us use io_uring? A container often does not."""
    return process.run(process.program("baton"), "journal", "append", "--io", "uring", directory / "probe",
                       input="").status == 0


def loop_devices():
    """Image files that a loop device shows, deleted ones too."""
    return [path.read_text() for path in pathlib.Path("/sys/block").glob("loop*/loop/backing_file")]


class Kill(TestCase):
    def setUp(self):
        self.work = self.workdir()
        self.seed = seed() % (1 << 31)

    def command(self, *options, programs=None):
        return [sys.executable, SOURCE / "scripts/rig/kill.py", "--bin", programs or os.environ["BATON_BIN"],
                "--work", self.work, "--seed", self.seed, "--verbose", *options]

    def nothing_is_left(self):
        self.assertEqual(list(self.work.iterdir()), [])
        wait_until(lambda: not any(str(self.work) in image for image in loop_devices()), "the loop devices to be free")

    def kill(self, *options):
        result = process.run(*self.command("--rounds", ROUNDS, "--kills-per-run", ROUNDS, "--json", "-", *options),
                             timeout=280)
        if result.status == DENIED:
            self.skipTest(result.stderr.strip())
        self.assertEqual(result.status, 0, result)
        found = result.json()
        run, = found["runs"]
        self.assertTrue(found["good"])
        self.assertEqual(run["kills"], ROUNDS)
        self.assertGreater(run["entries"], 0)
        self.assertGreaterEqual(run["verifies"], 20 + ROUNDS)
        self.nothing_is_left()
        return run

    def test_killed_on_io_uring_nothing_is_lost_and_no_late_write_does_harm(self):
        if not uring_works(self.workdir("probe")):
            self.skipTest("io_uring is not allowed here")
        self.kill("--fs", "host", "--io", "uring")

    def test_killed_on_threads_nothing_is_lost_and_no_late_write_does_harm(self):
        self.kill("--fs", "host", "--io", "threads")

    def test_killed_with_recycled_segments_nothing_is_lost_and_nothing_stale_comes_back(self):
        self.kill("--fs", "host", "--retire", "always", "--io",
                  "both" if uring_works(self.workdir("probe")) else "threads")

    def test_killed_on_an_ext4_that_fills_up_nothing_is_lost(self):
        self.kill("--fs", "ext4", "--io", "both" if uring_works(self.workdir("probe")) else "threads")

    def test_killed_on_an_xfs_that_fills_up_nothing_is_lost(self):
        self.kill("--fs", "xfs", "--io", "both" if uring_works(self.workdir("probe")) else "threads")

    def broken(self, name, text):
        """The programs, with a shell script in front of the one named."""
        build = pathlib.Path(os.environ["BATON_BIN"]).parent
        copy = self.workdir("programs")
        for folder, program in (("bin", "baton"), ("tests", "journal_kill_writer")):
            (copy / folder).mkdir()
            (copy / folder / program).symlink_to(build / folder / program)
        wrapper = copy / name
        wrapper.unlink()
        wrapper.write_text(f'#!/bin/sh\n{text}\nexec "{build / name}" "$@"\n')
        wrapper.chmod(0o755)
        return copy / "bin"

    def is_found(self, programs, why, *options):
        result = process.run(*self.command("--fs", "host", "--io", "threads", "--rounds", 3, *options, programs=programs),
                             timeout=280)
        self.assertEqual(result.status, 1, result)
        self.assertRegex(result.stderr, why)
        self.assertIn(f"scripts/campaign kill --rounds 3 --kills-per-run 3 --seed {self.seed} --io threads --fs host",
                      result.stderr)
        kept, = self.work.iterdir()
        self.assertTrue(list(kept.glob("host/journal-*/*.seg")))

    def test_a_writer_that_forgets_what_it_found_is_caught(self):
        forget = '[ "$1" = write ] && [ -d "$2" ] && rm -r "$2"'
        self.is_found(self.broken("tests/journal_kill_writer", forget), "acknowledged up to [0-9]+, recovered up to 0")

    def test_a_journal_that_is_said_to_be_damaged_is_caught(self):
        self.is_found(self.broken("bin/baton", '[ "$2" = verify ] && exit 11'), "verify: 11")

    def test_terminated_it_has_ended_its_processes_and_removed_its_files_and_mounts(self):
        child = self.spawn(*self.command("--rounds", 1000, "--io", "threads"), stderr=subprocess.PIPE)
        wait_until(lambda: list(self.work.glob("kill-*/kill-*/log")), "the first writer")
        self.assertEqual(child.terminate(), 128 + signal.SIGTERM)
        self.nothing_is_left()


if __name__ == "__main__":
    main()
