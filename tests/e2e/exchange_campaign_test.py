"""A sample of `scripts/campaign exchange`, and that it finds what it is there to find."""
import os
import signal
import sys

import process
from workdir import SOURCE, TestCase, main, seed, wait_until

# Of an order service whose journal says to the risk engine what the risk engine never heard.
PLANTED = """#!/bin/sh
if [ "$2" = replay ]; then
    "{program}" "$@" | sed "/\\"consumer\\":2/{{p;s/\\"index\\":0/\\"index\\":1/}}"
else
    exec "{program}" "$@"
fi
"""


class Campaign(TestCase):
    def setUp(self):
        self.work = self.workdir()
        self.seed = seed() % (1 << 31)

    def command(self, *options, programs=None):
        return [sys.executable, SOURCE / "scripts/rig/exchange_campaign.py", "--bin", programs or os.environ["BATON_BIN"],
                "--work", self.work, "--seed", self.seed, "--verbose", *options]

    def test_one_or_two_killed_anywhere_and_everything_is_there_once(self):
        result = process.run(*self.command("--rounds", 3, "--json", "-"), timeout=280)
        self.assertEqual(result.status, 0, result)
        found = result.json()
        self.assertTrue(found["good"])
        run, = found["runs"]
        self.assertGreaterEqual(run["kills"], 3)
        self.assertGreater(run["trades"], 0)
        self.assertEqual(list(self.work.iterdir()), [])

    def test_a_command_that_did_not_arrive_is_found_and_its_repetition_named(self):
        programs, name = self.workdir("programs"), "order-service"
        for other in os.listdir(os.environ["BATON_BIN"]):
            (programs / other).symlink_to(os.path.join(os.environ["BATON_BIN"], other))
        (programs / name).unlink()
        (programs / name).write_text(PLANTED.format(program=os.path.join(os.environ["BATON_BIN"], name)))
        (programs / name).chmod(0o755)
        result = process.run(*self.command("--rounds", 1, programs=programs), timeout=280)
        self.assertEqual(result.status, 1, result)
        self.assertIn("effects of order-service in the journal of risk-engine", result.stderr)
        self.assertIn(f"repeat it: scripts/campaign exchange --rounds 1 --rounds-per-run 1 --seed {self.seed} --io both",
                      result.stderr)
        self.assertEqual(len(list(self.work.iterdir())), 1)

    def test_terminated_it_has_ended_its_processes_and_removed_its_files(self):
        child = self.spawn(*self.command("--rounds", 1000))
        wait_until(lambda: any("exchange-load" in line for line in process.about(self.work, "exchange_campaign.py")),
                   "the load")
        self.assertEqual(child.terminate(), 128 + signal.SIGTERM)
        self.assertEqual(process.about(self.work, "exchange_campaign.py"), [])
        self.assertEqual(list(self.work.iterdir()), [])


if __name__ == "__main__":
    main()
