"""What `scripts/campaign kill` and `snapshot` have in common: a process that says line by line what it promises until
it is killed, a run of such processes on one directory, and runs that go from place to place."""
import os
import random
import select
import shutil
import time

import places
from campaign import BACKENDS, PROBLEMS, Campaign, Rig, Wrong
from processes import Failed

DEADLINE_S = 180  # only bounds a hang
EXIT_NO_SPACE, EXIT_SKIP = 3, 77
LOAD, START, FULL, ROOM = "under load", "in its start", "on a full disk", "after a full disk had room again"


class NoSpace(Exception):
    """A process could not begin: the disk is full."""


class Killed:
    """A process that is heard line by line until it is killed. Each says what it is called and what its lines are."""
    called = None
    line = None  # of bytes, without its end

    def __init__(self, run, *arguments):
        self.log = run.work / "log"
        self._text = b""
        self._out, out = os.pipe()
        try:
            with os.fdopen(out, "wb") as stdout:
                self.child = run.rig.processes.start([run.program, *arguments], stdout, self.log)
        except BaseException:
            os.close(self._out)
            raise

    def hear(self, match):
        """One line."""
        raise NotImplementedError

    def has_begun(self):
        """Did it say so? Before, it may find no space."""
        raise NotImplementedError

    def _take(self):
        """What it has said since. False at the end."""
        part = os.read(self._out, 1 << 16)
        lines = (self._text + part).split(b"\n")
        self._text = lines.pop()
        for line in lines:
            match = self.line.fullmatch(line)
            if not match:
                raise Failed(f"the {self.called} said {line!r}")
            self.hear(match)
        return bool(part)

    def wait(self, until, what):
        end = time.monotonic() + DEADLINE_S
        while not until():
            ready = select.select([self._out], [], [], max(0, end - time.monotonic()))[0]
            if not ready:
                raise Wrong(f"waited {DEADLINE_S} s for {what}: see {self.log}")
            if not self._take() and not until():
                code = self.child.wait()
                if code == EXIT_NO_SPACE and not self.has_begun():
                    raise NoSpace
                raise Wrong(f"the {self.called} ended by itself with {code} before {what}: see {self.log}")

    def kill(self):
        """SIGKILL; then what is still in the pipe counts."""
        self.child.kill()
        self.child.wait()
        while self._take():
            pass
        os.close(self._out)


class KilledRun:
    """Everything that is random comes from the seed, but what the machine makes of it."""
    name = None  # of the campaign
    tests_program = None  # what is killed
    holds = None  # what its directory is called by

    def __init__(self, rig, place, seed, rounds, report):
        self.rig, self.place, self.seed, self.rounds, self.report = rig, place, seed, rounds, report
        self.random = random.Random(seed)
        self.program = rig.bin.parent / "tests" / self.tests_program
        self.work = rig.work / f"{self.name}-{seed}"
        self.work.mkdir()
        self.directory = place.directory / f"{self.holds}-{seed}"
        self.found = {"seed": seed, "fs": place.name, "kills": rounds}

    def execute(self):
        """All kills. Returns found, with good and entries."""
        raise NotImplementedError

    def draw_kinds(self, weights_filled, weights):
        """Of every kill; the weights are those of LOAD, START, FULL and ROOM."""
        return self.random.choices((LOAD, START, FULL, ROOM),
                                   weights_filled if self.place.can_be_filled else weights, k=self.rounds)


class KilledCampaign(Campaign):
    rounds_default = 30
    own_options = {"--kills-per-run": 10, "--io": BACKENDS, "--fs": ["all", "host", "ext4", "xfs"]}
    run_class = None
    directory_is = None  # to the user

    def __init__(self, options):
        super().__init__(options)
        self.places, self.denied = [], []

    def found_text(self, found):
        """What a good run found besides its entries."""
        raise NotImplementedError

    def repeat_options(self):
        """Those that it takes besides to draw the same."""
        return ""

    def open(self):
        names = ["host", "ext4", "xfs"] if self.options.fs == "all" else [self.options.fs]
        self.places, self.denied = places.open_places(names, self.work, self.say)

    def close(self):
        for place in self.places:
            place.close(self.keep)

    def play(self, processes):
        if not self.places:
            self.keep = False
            return EXIT_SKIP
        runs, good = self.run(Rig(self.options, self.work, processes))
        return self.conclude(runs, good, f", on {', '.join(place.name for place in self.places)}", denied=self.denied)

    def run(self, rig):
        """All rounds, in runs that go from place to place; ends at the first wrong one. Returns (runs, is all good)."""
        runs, seed, done = [], self.options.seed, 0
        while done < self.options.rounds:
            kills = min(self.options.kills_per_run, self.options.rounds - done)
            place = self.places[len(runs) % len(self.places)]
            run = self.run_class(rig, place, seed, kills, self.on_round)
            try:
                found = run.execute()
            except (NoSpace, *PROBLEMS) as problem:
                self.say(f"baton: seed {seed} on {place.name}, after round {self.rounds}: {problem}\n"
                         f"{self.directory_is}: {run.directory}\n"
                         f"repeat it: scripts/campaign {self.name} --rounds {kills} --kills-per-run {kills} "
                         f"--seed {seed} --io {self.options.io} --fs {place.name}{self.repeat_options()}")
                return runs + [{**run.found, "good": False, "problem": str(problem)}], False
            runs.append(found)
            done += kills
            self.rounds = done
            self.say(f"seed {seed} on {place.name}: {kills} kills, {found['entries']} entries, "
                     f"{self.found_text(found)}: good  {self.progress()}")
            shutil.rmtree(run.work)
            shutil.rmtree(run.directory)
            seed += 1
        return runs, True
