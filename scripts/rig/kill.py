"""What `scripts/campaign kill` runs after the build, and the tests in small: see there for the options.

A run is one journal and the writers that work on it one after another, each killed while up to 64 large writes are in
flight, each followed at once by the next. What a dead writer still had in flight lands while its successor is already
there. Every writer says what is durable; none of that may be missing, no entry may hold other bytes than its writer
gave it, and each epoch must end exactly where the writer after it said that it ends. A round is one kill."""
import argparse
import json
import os
import pathlib
import random
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

import places
from processes import Failed, Processes, run_rig

DEADLINE_S = 180  # only bounds a hang
VERIFIES = 20  # of what the last dead writer left, one after another
MOMENT_S = 0.03
WRITES_DEEP, ENTRY_BYTES = 56, 50000  # journal_kill_writer.c: up to 64 in flight, 48 KiB an entry on average
EXIT_NO_SPACE, EXIT_TORN, EXIT_SKIP = 3, 10, 77

LOAD, START, FULL, ROOM = "under load", "in its start", "on a full disk", "after a full disk had room again"
KEPT_ENTRIES = 100  # behind the durable end, where the writer retires
LINE = re.compile(rb"(recovered|durable|full|room|retiring) (\d+)(?: epoch (\d+) torn (\d+) unproven (\d+)| appended (\d+))?\n")


class Wrong(Exception):
    """A promise that did not hold."""


class NoSpace(Exception):
    """A writer could not begin: the disk is full."""


class Writer:
    """One process of tests/e2e/journal_kill_writer.c, and what it has said."""

    def __init__(self, run, backend, batch_bytes, segment_bytes):
        self.log = run.work / "log"
        self.described = f"{backend}, batches of {batch_bytes >> 10} KiB, segments of {segment_bytes >> 20} MiB"
        self.kept_from = 1
        self.epoch = self.recovered = self.durable = self.appended = None
        self.torn = self.unproven = self.entries_in_flight = 0
        self.entries_deep = WRITES_DEEP * batch_bytes // ENTRY_BYTES
        self.is_full = False
        self._text = b""
        self._out, out = os.pipe()
        try:
            with os.fdopen(out, "wb") as stdout:
                self.child = run.rig.processes.start(
                    [run.rig.writer, "write", run.directory, backend, batch_bytes, segment_bytes,
                     KEPT_ENTRIES if run.retires else 0], stdout, self.log)
        except BaseException:
            os.close(self._out)
            raise

    def _take(self):
        """What it has said since. False at the end."""
        part = os.read(self._out, 1 << 16)
        lines = (self._text + part).split(b"\n")
        self._text = lines.pop()
        for line in lines:
            self._hear(line + b"\n")
        return bool(part)

    def _hear(self, line):
        match = LINE.fullmatch(line)
        if not match:
            raise Failed(f"the writer said {line!r}")
        seq = int(match[2])
        if match[1] == b"recovered":
            self.recovered = self.durable = self.appended = seq
            self.epoch, self.torn, self.unproven = int(match[3]), int(match[4]), int(match[5])
        elif match[1] == b"durable":
            if seq <= self.durable:
                raise Wrong(f"durable {seq} after durable {self.durable}")
            self.durable, self.appended = seq, int(match[6])
            self.entries_in_flight = self.appended - seq
        elif match[1] == b"retiring":
            self.kept_from = seq
        else:
            self.is_full = match[1] == b"full"

    def wait(self, until, what):
        end = time.monotonic() + DEADLINE_S
        while not until():
            ready = select.select([self._out], [], [], max(0, end - time.monotonic()))[0]
            if not ready:
                raise Wrong(f"waited {DEADLINE_S} s for {what}: see {self.log}")
            if not self._take() and not until():
                code = self.child.wait()
                if code == EXIT_NO_SPACE and self.recovered is None:
                    raise NoSpace
                raise Wrong(f"the writer ended by itself with {code} before {what}: see {self.log}")

    def kill(self):
        """SIGKILL; then what is still in the pipe counts."""
        self.child.kill()
        self.child.wait()
        while self._take():
            pass
        os.close(self._out)


class KillRun:
    """Everything that is random comes from the seed, but what the machine makes of it."""

    def __init__(self, rig, place, seed, rounds, report):
        self.rig, self.place, self.seed, self.rounds, self.report = rig, place, seed, rounds, report
        self.random = random.Random(seed)
        self.work = rig.work / f"kill-{seed}"
        self.work.mkdir()
        self.directory = place.directory / f"journal-{seed}"
        self.writers = []  # those that began an epoch, in order
        self.acked, self.kept_from = 0, 1
        drawn = {"drawn": self.random.random() < 0.5, "always": True, "never": False}[rig.retire]
        self.retires = drawn and not place.can_be_filled  # no disk that retires stays full
        self.had_ballast = False  # room for one begin on a full disk (J6)
        self.found = {"seed": seed, "fs": place.name, "kills": rounds, "torn_cut": 0, "unproven": 0, "verifies": 0,
                      "in_flight_max": 0, "begun_on_full_disk": 0, "refused_on_full_disk": 0, "recycled": 0}

    def start(self):
        small = self.place.can_be_filled
        if self.retires:  # segments that are soon full, soon retired, and soon used again
            return Writer(self, self.random.choice(self.rig.backends), 128 << 10, self.random.choice((2, 8)) << 20)
        return Writer(self, self.random.choice(self.rig.backends),
                      self.random.choice((128 << 10,) if small else (128 << 10, 256 << 10, 512 << 10)),
                      self.random.choice((4, 16) if small else (8, 64)) << 20)

    def drive(self, writer, kind):
        """Until the moment of the kill."""
        if kind == START:
            return time.sleep(self.random.uniform(0, MOMENT_S))
        count = self.random.randrange(1, self.place.entries_max)
        if kind in (FULL, ROOM):
            writer.wait(lambda: writer.durable > writer.recovered or writer.is_full, "a first entry")
            self.place.fill()
            writer.wait(lambda: writer.is_full, "word of the full disk")
        if kind == ROOM:
            self.place.make_room()
            count += writer.durable - writer.recovered
        if kind == FULL:
            return
        # At a moment with as many writes in flight as can be, if one comes in time. A disk can also fill up by itself.
        enough, limit = writer.recovered + count, writer.recovered + count + self.place.entries_max
        writer.wait(lambda: (writer.durable >= enough and writer.entries_in_flight >= writer.entries_deep)
                    or writer.durable >= limit or (kind == LOAD and writer.is_full), "entries to become durable")

    def succeed(self, successor, kind):
        """Returns the writer that has taken over."""
        on_full_disk = kind == FULL
        has_ballast = self.had_ballast
        while True:
            successor = successor or self.start()
            try:
                successor.wait(lambda: successor.recovered is not None, "recovery")
                break
            except NoSpace:
                if not self.place.can_be_filled:
                    raise Wrong("no space for a writer on a disk that is not full") from None
                if not on_full_disk:
                    raise Wrong("no space for a writer although there is room") from None
                if has_ballast:
                    raise Wrong("no space for a writer on a full disk, although there was a ballast") from None
                successor.kill()
                successor, on_full_disk = None, False
                self.found["refused_on_full_disk"] += 1
                self.place.make_room()
        self.found["begun_on_full_disk"] += on_full_disk
        if self.place.can_be_filled:
            self.place.make_room()
            self.place.check_room()
        return successor

    def ballast_is_whole(self):
        """Made in two steps: the second one gives it its size."""
        try:
            return (self.directory / "BALLAST").stat().st_size > 0
        except FileNotFoundError:
            return False

    def recycled_there(self):
        """Is a segment in use, or ready, that holds what a retired one held? Its header says so, or is zero."""
        for path in self.directory.glob("*.seg"):
            try:
                with open(path, "rb") as file:
                    head, behind = file.read(4096), file.read(4096)
            except FileNotFoundError:  # the successor removes what was only ready
                continue
            if head[:8] == b"BATONSEG" and head[12] & 4 or head and not any(head) and any(behind):
                return True
        return False

    def took_over(self, dead, writer):
        if writer.recovered < self.acked:
            raise Wrong(f"acknowledged up to {self.acked}, recovered up to {writer.recovered}")
        if self.writers and writer.epoch <= self.writers[-1].epoch:
            raise Wrong(f"epoch {writer.epoch} after epoch {self.writers[-1].epoch}")
        self.writers.append(writer)
        self.acked = writer.recovered  # it flushed what it took over
        self.found["torn_cut"] += writer.torn
        self.found["unproven"] += writer.unproven
        self.verify(self.directory)
        if dead:
            self.report(f"seed {self.seed} {self.place.name}: killed {dead.kind}, {dead.entries_in_flight} entries in "
                        f"flight, recovered {writer.recovered}, torn {writer.torn}; now {writer.described}")

    def ended(self, writer, kind):
        """What it said last. One that was killed in its start may have begun an epoch, or not."""
        writer.kind = kind
        self.kept_from = max(self.kept_from, writer.kept_from)
        self.found["recycled"] += self.recycled_there()
        self.found["in_flight_max"] = max(self.found["in_flight_max"], writer.entries_in_flight)
        if writer.recovered is not None and writer not in self.writers:
            self.writers.append(writer)
        self.acked = max(self.acked, writer.durable or 0)

    def execute(self):
        kinds = self.random.choices((LOAD, START, FULL, ROOM), (70, 15, 30, 15) if self.place.can_be_filled
                                    else (85, 15, 0, 0), k=self.rounds)
        writer = self.succeed(None, LOAD)
        self.took_over(None, writer)
        for number, kind in enumerate(kinds, 1):
            last = number == self.rounds
            if kind == START:  # this one goes down under load, the next one in its start
                self.drive(writer, LOAD)
            else:
                self.drive(writer, kind)
            waits = not last and self.random.random() < 0.5  # the successor is there before the kill
            successor = self.start() if waits else None
            if successor:
                time.sleep(self.random.uniform(0, MOMENT_S))
            self.had_ballast = self.ballast_is_whole()
            writer.kill()
            self.ended(writer, kind)
            if last:
                break
            if kind == START:
                hurried = successor or self.start()
                self.drive(hurried, START)
                hurried.kill()
                self.ended(hurried, START)
                successor = None
            dead, writer = writer, self.succeed(successor, kind)
            self.took_over(dead, writer)
        return self.judge()

    def verify(self, directory, expected=(0, EXIT_TORN)):
        """Beside a writer, or of what a dead one left. Returns the exit code."""
        done = subprocess.run([self.rig.bin / "baton", "journal", "verify", "-o", "json", directory],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEADLINE_S)
        self.found["verifies"] += 1
        if done.returncode not in expected:
            raise Wrong(f"baton journal verify: {done.returncode}: {done.stdout.strip()}")
        return done.returncode

    def judge(self):
        """Nobody follows the last one at once: what it had in flight lands while it is looked at."""
        seen = [self.verify(self.directory) for _ in range(VERIFIES)]
        if self.place.can_be_filled:
            self.place.make_room()
        done = subprocess.run([self.rig.bin / "baton", "journal", "append", "-o", "json", self.directory],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=DEADLINE_S)
        if done.returncode != 0:
            raise Wrong(f"the last successor: {done.returncode}: {done.stderr.strip()}")
        last_seq = json.loads(done.stdout.splitlines()[-1])["recovery"]["last"]["seq"]
        if last_seq < self.acked:
            raise Wrong(f"acknowledged up to {self.acked}, recovered up to {last_seq}")
        self.verify(self.directory, (0,))
        self.read(last_seq)
        self.found.update(good=True, entries=last_seq, epochs=len(self.writers), torn_verdicts=seen.count(EXIT_TORN))
        return self.found

    def read(self, last_seq):
        """Every entry with its own writer's bytes, and every epoch as long as the next one said."""
        done = subprocess.run([self.rig.writer, "read", self.directory], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S)
        if done.returncode != 0:
            raise Wrong(f"read the journal: {done.stderr.strip()}")
        found = [tuple(int(n) for n in line.split()[1::2]) for line in done.stdout.splitlines()]
        expected = []
        for writer, after in zip(self.writers, self.writers[1:] + [None]):
            end = after.recovered if after else last_seq
            if end > writer.recovered:
                expected.append((writer.epoch, writer.recovered + 1, end))
        first = found[0][1] if found else 1
        if first > self.kept_from:
            raise Wrong(f"the journal begins at {first}, and was to be kept from {self.kept_from} on")
        expected = [(epoch, max(first, begin), end) for epoch, begin, end in expected if end >= first]
        if found != expected:
            raise Wrong(f"(epoch, first, last) are {found}, and were said to be {expected}")


class Rig:
    def __init__(self, options, work, processes):
        self.bin = pathlib.Path(options.bin)
        self.writer = self.bin.parent / "tests" / "journal_kill_writer"
        self.work = work
        self.processes = processes
        self.retire = options.retire
        self.backends = ["uring", "threads"] if options.io == "both" else [options.io]


class Campaign:
    def __init__(self, options):
        self.options = options
        self.live = sys.stderr.isatty() and not options.verbose
        self.rounds = 0
        self.began = time.monotonic()

    def say(self, text):
        print(("\r\x1b[K" if self.live else "") + text, file=sys.stderr, flush=True)

    def on_round(self, text):
        self.rounds += 1
        text = f"round {self.rounds} of {self.options.rounds}  {text}"
        if self.live:
            print(f"\r\x1b[K{text[:160]}", end="", file=sys.stderr, flush=True)
        elif self.options.verbose:
            self.say(text)

    def run(self, rig, all_places):
        """All rounds, in runs that go from place to place; ends at the first wrong one. Returns (runs, is all good)."""
        runs, seed, done = [], self.options.seed, 0
        while done < self.options.rounds:
            kills = min(self.options.kills_per_run, self.options.rounds - done)
            place = all_places[len(runs) % len(all_places)]
            kill_run = KillRun(rig, place, seed, kills, self.on_round)
            try:
                found = kill_run.execute()
            except (Wrong, NoSpace, Failed, OSError, subprocess.SubprocessError, ValueError, KeyError) as problem:
                self.say(f"baton: seed {seed} on {place.name}, after round {self.rounds}: {problem}\n"
                         f"journal: {kill_run.directory}\n"
                         f"repeat it: scripts/campaign kill --rounds {kills} --kills-per-run {kills} --seed {seed} "
                         f"--io {self.options.io} --fs {place.name} --retire {self.options.retire}")
                return runs + [{**kill_run.found, "good": False, "problem": str(problem)}], False
            runs.append(found)
            done += kills
            self.rounds = done
            self.say(f"seed {seed} on {place.name}: {kills} kills, {found['entries']} entries, "
                     f"{found['epochs']} epochs, {found['in_flight_max']} in flight at most, {found['torn_cut']} torn "
                     f"bytes cut, recycled segments {found['recycled']} times, {found['verifies']} verifies: good  "
                     f"({done} rounds, {time.monotonic() - self.began:.0f} s)")
            shutil.rmtree(kill_run.work)
            shutil.rmtree(kill_run.directory)
            seed += 1
        return runs, True


def execute(options):
    root = pathlib.Path(options.work) if options.work else pathlib.Path(options.bin).parent / "campaign"
    root.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="kill-", dir=root))
    keep, all_places = True, []
    campaign = Campaign(options)
    try:
        all_places, denied = places.open_places(
            ["host", "ext4", "xfs"] if options.fs == "all" else [options.fs], work, campaign.say)
        if not all_places:
            keep = False
            return EXIT_SKIP
        with Processes() as processes:
            runs, good = campaign.run(Rig(options, work, processes), all_places)
        keep = not good
        write_result(options, {"campaign": "kill", "seed": options.seed, "io": options.io, "rounds": campaign.rounds,
                               "good": good, "denied": denied, "runs": runs,
                               "seconds": round(time.monotonic() - campaign.began, 1)})
        verdict = "nothing lost, nothing invented, no late write did harm" if good else "FAILED, see above"
        campaign.say(f"{campaign.rounds} rounds, seeds {options.seed} to {options.seed + max(len(runs) - 1, 0)}, on "
                     f"{', '.join(place.name for place in all_places)}: {verdict}")
        return 0 if good else 1
    except SystemExit:
        keep = False
        raise
    finally:
        keep = keep or options.keep
        for place in all_places:
            place.close(keep)
        if keep:
            campaign.say(f"files kept in {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)


def write_result(options, result):
    if options.json:
        with sys.stdout if options.json == "-" else open(options.json, "w") as file:
            file.write(json.dumps(result) + "\n")


def parse(arguments):
    parser = argparse.ArgumentParser(prog="scripts/campaign kill", add_help=False, allow_abbrev=False)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--kills-per-run", type=int, default=10)
    parser.add_argument("--io", choices=["both", "uring", "threads"], default="both")
    parser.add_argument("--fs", choices=["all", "host", "ext4", "xfs"], default="all")
    parser.add_argument("--retire", choices=["drawn", "always", "never"], default="drawn")
    parser.add_argument("--json")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if min(options.rounds, options.kills_per_run) < 1:
        parser.error("--rounds and --kills-per-run begin at 1")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1, 1 << 31)
    return options


def main(arguments):
    options = parse(arguments)
    return run_rig("run the campaign", lambda: execute(options))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
