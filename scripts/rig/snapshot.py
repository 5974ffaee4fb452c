"""What `scripts/campaign snapshot` runs after the build, and the tests in small: see there for the options.

A run is one directory and the services that work on it one after another, each killed while it takes snapshots under
load, or in its start, or on a full disk. What a service said to be published stays, whole; a start goes on from the
newest snapshot whose name was durable, with all that was durable, to the digests of the uninterrupted run (the
service compares them itself). On a full disk the service goes on, what is there stays, and when there is room the
next snapshot is taken. A round is one kill."""
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
EXIT_NO_SPACE, EXIT_SKIP = 3, 77
MOMENT_S = 0.05  # a start takes about so long
KEEP = 2  # generations that stay, at least
LOAD, START, FULL, ROOM = "under load", "in its start", "on a full disk", "after a full disk had room again"
LINE = re.compile(rb"(opened|durable|published|failed|full|room) ([^\n]+)")


class Wrong(Exception):
    """A promise that did not hold."""


class NoSpace(Exception):
    """A service could not begin: the disk is full."""


class Service:
    """One process of tests/e2e/snapshot_kill_service.c, and what it has said."""

    def __init__(self, run, backend, every):
        self.log = run.work / "log"
        self.described = f"{backend}, every {every} entries"
        self.opened = None  # (seq, epoch, from, skipped)
        self.durable = 0
        self.published = []  # (seq, epoch, after)
        self.failed, self.is_full = [], False
        self._text = b""
        self._out, out = os.pipe()
        try:
            with os.fdopen(out, "wb") as stdout:
                self.child = run.rig.processes.start([run.rig.service, "run", run.directory, backend, every], stdout,
                                                     self.log)
        except BaseException:
            os.close(self._out)
            raise

    def _take(self):
        """What it has said since. False at the end."""
        part = os.read(self._out, 1 << 16)
        lines = (self._text + part).split(b"\n")
        self._text = lines.pop()
        for line in lines:
            match = LINE.fullmatch(line)
            if not match:
                raise Failed(f"the service said {line!r}")
            self._hear(match[1].decode(), match[2].decode().split())
        return bool(part)

    def _hear(self, word, values):
        if word == "opened":
            self.opened = tuple(map(int, values))
            self.durable = self.opened[0]
        elif word == "durable":
            self.durable = int(values[0])
        elif word == "published":
            self.published.append(tuple(map(int, values)))
        elif word == "failed":
            self.failed.append(values[0])
        else:
            self.is_full = word == "full"

    def wait(self, until, what):
        end = time.monotonic() + DEADLINE_S
        while not until():
            ready = select.select([self._out], [], [], max(0, end - time.monotonic()))[0]
            if not ready:
                raise Wrong(f"waited {DEADLINE_S} s for {what}: see {self.log}")
            if not self._take() and not until():
                code = self.child.wait()
                if code == EXIT_NO_SPACE and self.opened is None:
                    raise NoSpace
                raise Wrong(f"the service ended by itself with {code} before {what}: see {self.log}")

    def kill(self):
        """SIGKILL; then what is still in the pipe counts."""
        self.child.kill()
        self.child.wait()
        while self._take():
            pass
        os.close(self._out)


class SnapshotRun:
    """Everything that is random comes from the seed, but what the machine makes of it."""

    def __init__(self, rig, place, seed, rounds, report):
        self.rig, self.place, self.seed, self.rounds, self.report = rig, place, seed, rounds, report
        self.random = random.Random(seed)
        self.work = rig.work / f"snapshot-{seed}"
        self.work.mkdir()
        self.directory = place.directory / f"service-{seed}"
        self.durable, self.proven = 0, 0
        self.published = []
        self.found = {"seed": seed, "fs": place.name, "kills": rounds, "published": 0, "failed": 0, "whole": 0,
                      "starts_from_snapshot": 0, "killed_while_publishing": 0, "taken_after_full_disk": 0}

    def start(self):
        return Service(self, self.random.choice(self.rig.backends), self.random.choice((300, 1000, 4000)))

    def check(self, living=False):
        """Every snapshot that is there is whole; the newest that was published is there, and another one. A living
        service may prune what was listed a moment before."""
        done = subprocess.run([self.rig.service, "check", self.directory], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S)
        if done.returncode != 0:
            raise Wrong(f"check: {done.returncode}: {done.stderr.strip()}")
        there = {}
        for line in done.stdout.splitlines():
            _, seq, epoch, status = line.split()
            there[int(seq), int(epoch)] = status
        broken = {key: status for key, status in there.items() if status != "OK"}
        if broken:
            raise Wrong(f"snapshots that are there and not whole: {broken}")
        self.found["whole"] += len(there)
        if living:
            return
        if self.published and max(there, default=(0, 0)) < self.published[-1][:2]:
            raise Wrong(f"snapshot {self.published[-1]} was published and is gone; there are {sorted(there)}")
        if len(there) < min(KEEP, len(self.published)):
            raise Wrong(f"{len(self.published)} were published, only {sorted(there)} are there")

    def succeed(self, on_full_disk):
        service = self.start()
        try:
            service.wait(lambda: service.opened, "its start")
        except NoSpace:
            if not on_full_disk:
                raise Wrong("no space for a service on a disk that is not full") from None
            service.kill()
            self.place.make_room()
            service = self.start()
            service.wait(lambda: service.opened, "its start")
        seq, _, source, skipped = service.opened
        if seq < self.durable:
            raise Wrong(f"durable up to {self.durable}, opened at {seq}")
        if source < self.proven:
            raise Wrong(f"began with snapshot {source} ({skipped} skipped), {self.proven} was named and durable")
        self.found["starts_from_snapshot"] += source > 0
        if self.place.can_be_filled:
            self.place.make_room()
            self.place.check_room()
        return service

    def drive(self, service, kind):
        """Until the moment of the kill."""
        count = self.random.randrange(1, 4)
        if kind in (FULL, ROOM):
            service.wait(lambda: service.published or service.is_full, "a first snapshot")
            service.wait(lambda: self.is_told_full(service), "word of the full disk")
            self.collect(service)
            self.check(living=True)
        if kind == FULL:
            return
        if kind == ROOM:
            self.place.make_room()
            before = len(service.published)
            service.wait(lambda: len(service.published) > before, "a snapshot after there was room again")
            self.found["taken_after_full_disk"] += 1
        service.wait(lambda: len(service.published) >= count, "snapshots")
        time.sleep(self.random.uniform(0, MOMENT_S))  # any moment of the next one

    def is_told_full(self, service):
        """A generation that is removed makes room for the next one: that is taken away, too."""
        if service.is_full or "BATON_E_NO_SPACE" in service.failed:
            return True
        self.place.fill()
        return False

    def collect(self, service):
        """What it has said counts from now on."""
        self.published += [one for one in service.published if one not in self.published]
        self.durable = max(self.durable, service.durable)
        self.proven = max([self.proven] + [seq for seq, _, after in service.published if service.durable > after])

    def end(self, service):
        service.kill()
        self.collect(service)
        self.found["published"] += len(service.published)
        self.found["failed"] += len(service.failed)
        snapshots = self.directory / "snapshots"
        self.found["killed_while_publishing"] += any(snapshots.glob("*.partial")) if snapshots.exists() else 0
        if any(status != "BATON_E_NO_SPACE" for status in service.failed):
            raise Wrong(f"snapshots failed: {service.failed}")
        self.check()

    def execute(self):
        kinds = self.random.choices((LOAD, START, FULL, ROOM), (45, 15, 20, 20) if self.place.can_be_filled
                                    else (80, 20, 0, 0), k=self.rounds)
        service = self.succeed(False)
        for number, kind in enumerate(kinds, 1):
            if kind == START:
                self.drive(service, LOAD)
                self.end(service)
                service = self.start()
                time.sleep(self.random.uniform(0, MOMENT_S))
            else:
                self.drive(service, kind)
            self.end(service)
            self.report(f"seed {self.seed} {self.place.name}: killed {kind}, {len(service.published)} published, "
                        f"{service.described}")
            if number < self.rounds:
                service = self.succeed(kind == FULL)
        if self.place.can_be_filled:
            self.place.make_room()
        last = self.succeed(False)
        last.wait(lambda: last.published, "a last snapshot")
        self.end(last)
        self.found.update(good=True, entries=self.durable)
        return self.found


class Rig:
    def __init__(self, options, work, processes):
        self.service = pathlib.Path(options.bin).parent / "tests" / "snapshot_kill_service"
        self.work = work
        self.processes = processes
        self.backends = ["uring", "threads"] if options.io == "both" else [options.io]


class Campaign:
    def __init__(self, options):
        self.options = options
        self.rounds = 0
        self.began = time.monotonic()

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def on_round(self, text):
        self.rounds += 1
        if self.options.verbose:
            self.say(f"round {self.rounds} of {self.options.rounds}  {text}")

    def run(self, rig, all_places):
        """All rounds, in runs that go from place to place; ends at the first wrong one. Returns (runs, is all good)."""
        runs, seed, done = [], self.options.seed, 0
        while done < self.options.rounds:
            kills = min(self.options.kills_per_run, self.options.rounds - done)
            place = all_places[len(runs) % len(all_places)]
            run = SnapshotRun(rig, place, seed, kills, self.on_round)
            try:
                found = run.execute()
            except (Wrong, NoSpace, Failed, OSError, subprocess.SubprocessError, ValueError, KeyError) as problem:
                self.say(f"baton: seed {seed} on {place.name}, after round {self.rounds}: {problem}\n"
                         f"data: {run.directory}\n"
                         f"repeat it: scripts/campaign snapshot --rounds {kills} --kills-per-run {kills} --seed {seed} "
                         f"--io {self.options.io} --fs {place.name}")
                return runs + [{**run.found, "good": False, "problem": str(problem)}], False
            runs.append(found)
            done += kills
            self.say(f"seed {seed} on {place.name}: {kills} kills, {found['entries']} entries, {found['published']} "
                     f"published, {found['failed']} failed for a full disk, {found['taken_after_full_disk']} taken after "
                     f"one, {found['killed_while_publishing']} killed while publishing, {found['whole']} read and right: "
                     f"good  ({done} rounds, {time.monotonic() - self.began:.0f} s)")
            shutil.rmtree(run.work)
            shutil.rmtree(run.directory)
            seed += 1
        return runs, True


def execute(options):
    root = pathlib.Path(options.work) if options.work else pathlib.Path(options.bin).parent / "campaign"
    root.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="snapshot-", dir=root))
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
        if options.json:
            with sys.stdout if options.json == "-" else open(options.json, "w") as file:
                file.write(json.dumps({"campaign": "snapshot", "seed": options.seed, "io": options.io, "good": good,
                                       "rounds": campaign.rounds, "denied": denied, "runs": runs,
                                       "seconds": round(time.monotonic() - campaign.began, 1)}) + "\n")
        verdict = "each whole, each start right" if good else "FAILED, see above"
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


def parse(arguments):
    parser = argparse.ArgumentParser(prog="scripts/campaign snapshot", add_help=False, allow_abbrev=False)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--kills-per-run", type=int, default=10)
    parser.add_argument("--io", choices=["both", "uring", "threads"], default="both")
    parser.add_argument("--fs", choices=["all", "host", "ext4", "xfs"], default="all")
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
