"""What `scripts/campaign engine` runs after the build: see there for the options.

A round: random commands of every kind to the matching engine and to a plain one (tests/unit/plain_exchange.h), which
must agree on every outcome, trade and book."""
import pathlib
import subprocess
import sys

from campaign import Campaign


class EngineAgainstPlain(Campaign):
    name = "engine"
    rounds_default = 100
    own_options = {"--commands": 100000}
    verdict = "the same outcomes, trades and books"

    def play(self, processes):
        options = self.options
        program = pathlib.Path(options.bin).parent / "tests" / "exchange_engine_random_test"
        good = True
        for seed in range(options.seed, options.seed + options.rounds):
            ran = subprocess.run([program, "--rounds", "1", "--commands", str(options.commands), "--seed", str(seed)],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if ran.returncode != 0:
                good = False
                self.say(f"seed {seed}: {ran.stdout.strip()}")
                self.say(f"repeat it: scripts/campaign engine --rounds 1 --seed {seed} --commands {options.commands}")
                break
            self.on_round(ran.stdout.strip().splitlines()[-1])
        self.keep = False
        self.write_result({"rounds": self.rounds, "good": good, "commands": self.rounds * options.commands})
        self.say(f"{self.rounds} rounds of {options.commands} commands, from seed {options.seed}: "
                 f"{self.verdict if good else 'FAILED, see above'}")
        return 0 if good else 1


if __name__ == "__main__":
    sys.exit(EngineAgainstPlain.main(sys.argv[1:]))
