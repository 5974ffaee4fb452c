"""What every campaign of scripts/campaign has: its options, what it says, where it works and what it leaves."""
import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

from processes import Failed, Processes, run_rig

BACKENDS = ["both", "uring", "threads"]


class Wrong(Exception):
    """A promise that did not hold."""


PROBLEMS = (Wrong, Failed, OSError, subprocess.SubprocessError, ValueError, KeyError)  # of a run; all else is a bug


def parse(arguments, name, rounds, own):
    """own: the defaults of what this campaign has besides. A number begins at 1; of a list the first is the default."""
    parser = argparse.ArgumentParser(prog=f"scripts/campaign {name}", add_help=False, allow_abbrev=False)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seed", type=int)
    counts = ["--rounds"]
    for option, default in own.items():
        if isinstance(default, int):
            counts.append(option)
            parser.add_argument(option, type=int, default=default)
        elif isinstance(default, list):
            parser.add_argument(option, choices=default, default=default[0])
        else:
            parser.add_argument(option, default=default)
    parser.add_argument("--json")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if min(getattr(options, count[2:].replace("-", "_")) for count in counts) < 1:
        parser.error(f"{', '.join(counts[:-1])} and {counts[-1]} begin at 1")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1, 1 << 31)
    return options


class Rig:
    """What the runs of a campaign work with."""

    def __init__(self, options, work, processes):
        self.options = options
        self.work = work
        self.processes = processes
        self.bin = pathlib.Path(options.bin)
        self.backends = ["uring", "threads"] if options.io == "both" else [options.io]


class Campaign:
    """A campaign from its options to its exit code. Each says its name, its options and their defaults, and plays."""
    name = None
    rounds_default = None
    own_options = {}
    verdict = None  # on what was good to the end

    def __init__(self, options):
        self.options = options
        self.live = sys.stderr.isatty() and not options.verbose
        self.rounds = 0
        self.began = time.monotonic()
        self.keep = True  # until all is known to be good
        self.work = None

    @classmethod
    def main(cls, arguments):
        options = parse(arguments, cls.name, cls.rounds_default, cls.own_options)
        return run_rig("run the campaign", lambda: cls(options).execute())

    def play(self, processes):
        """All rounds. Returns the exit code, and has set keep."""
        raise NotImplementedError

    def open(self):
        """What it needs besides its directory."""

    def close(self):
        """What open() made, even if it got not far."""

    def execute(self):
        """Its files stay if they may show what went wrong, or are asked for."""
        options = self.options
        root = pathlib.Path(options.work) if options.work else pathlib.Path(options.bin).parent / "campaign"
        root.mkdir(parents=True, exist_ok=True)
        self.work = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=root))
        try:
            self.open()
            with Processes() as processes:
                return self.play(processes)
        except SystemExit:
            self.keep = False
            raise
        finally:
            self.keep = self.keep or options.keep
            self.close()
            if self.keep:
                self.say(f"files kept in {self.work}")
            else:
                shutil.rmtree(self.work, ignore_errors=True)

    def say(self, text):
        print(("\r\x1b[K" if self.live else "") + text, file=sys.stderr, flush=True)

    def on_round(self, text):
        self.rounds += 1
        text = f"round {self.rounds} of {self.options.rounds}  {text}"
        if self.live:
            print(f"\r\x1b[K{text[:160]}", end="", file=sys.stderr, flush=True)
        elif self.options.verbose:
            self.say(text)

    def progress(self):
        return f"({self.rounds} rounds, {time.monotonic() - self.began:.0f} s)"

    def conclude(self, runs, good, where="", **found):
        """For the end of play()."""
        self.keep = not good
        self.write_result({"io": self.options.io, "rounds": self.rounds, "good": good, **found, "runs": runs,
                           "seconds": round(time.monotonic() - self.began, 1)})
        first = self.options.seed
        self.say(f"{self.rounds} rounds, seeds {first} to {first + max(len(runs) - 1, 0)}{where}: "
                 f"{self.verdict if good else 'FAILED, see above'}")
        return 0 if good else 1

    def write_result(self, result):
        if self.options.json:
            with sys.stdout if self.options.json == "-" else open(self.options.json, "w") as file:
                file.write(json.dumps({"campaign": self.name, "seed": self.options.seed, **result}) + "\n")


class EngineCampaign(Campaign):
    """One whose engines listen on sockets."""

    def __init__(self, options):
        super().__init__(options)
        self.sockets = None

    def open(self):
        # A socket's path is short.
        self.sockets = pathlib.Path(tempfile.mkdtemp(prefix=f"baton-{self.name}-", dir="/tmp"))

    def close(self):
        if self.sockets:
            shutil.rmtree(self.sockets, ignore_errors=True)
