"""What `scripts/campaign snapshot` runs after the build, and the tests in small: see there for the options.

A run is one directory and the services that work on it one after another, each killed while it takes snapshots under
load, or in its start, or on a full disk. What a service said to be published stays, whole; a start goes on from the
newest snapshot whose name was durable, with all that was durable, to the digests of the uninterrupted run (the
service compares them itself). On a full disk the service goes on, what is there stays, and when there is room the
next snapshot is taken. A round is one kill."""
import re
import subprocess
import sys
import time

from campaign import Wrong
from killed import DEADLINE_S, FULL, LOAD, ROOM, START, Killed, KilledCampaign, KilledRun, NoSpace

MOMENT_S = 0.05  # a start takes about so long
KEEP = 2  # generations that stay, at least


class Service(Killed):
    """One process of tests/e2e/snapshot_kill_service.c, and what it has said."""
    called = "service"
    line = re.compile(rb"(opened|durable|published|failed|full|room) ([^\n]+)")

    def __init__(self, run, backend, every):
        self.described = f"{backend}, every {every} entries"
        self.opened = None  # (seq, epoch, from, skipped)
        self.durable = 0
        self.published = []  # (seq, epoch, after)
        self.failed, self.is_full = [], False
        super().__init__(run, "run", run.directory, backend, every)

    def has_begun(self):
        return self.opened is not None

    def hear(self, match):
        word, values = match[1].decode(), match[2].decode().split()
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


class SnapshotRun(KilledRun):
    name = "snapshot"
    tests_program = "snapshot_kill_service"
    holds = "service"

    def __init__(self, rig, place, seed, rounds, report):
        super().__init__(rig, place, seed, rounds, report)
        self.durable, self.proven = 0, 0
        self.published = []
        self.found.update(published=0, failed=0, whole=0, starts_from_snapshot=0, killed_while_publishing=0,
                          taken_after_full_disk=0)

    def start(self):
        return Service(self, self.random.choice(self.rig.backends), self.random.choice((300, 1000, 4000)))

    def check(self, living=False):
        """Every snapshot that is there is whole; the newest that was published is there, and another one. A living
        service may prune what was listed a moment before."""
        done = subprocess.run([self.program, "check", self.directory], stdout=subprocess.PIPE,
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
            service.wait(service.has_begun, "its start")
        except NoSpace:
            if not on_full_disk:
                raise Wrong("no space for a service on a disk that is not full") from None
            service.kill()
            self.place.make_room()
            service = self.start()
            service.wait(service.has_begun, "its start")
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
        kinds = self.draw_kinds((45, 15, 20, 20), (80, 20, 0, 0))
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


class SnapshotCampaign(KilledCampaign):
    name = "snapshot"
    verdict = "each whole, each start right"
    run_class = SnapshotRun
    directory_is = "data"

    def found_text(self, found):
        return (f"{found['published']} published, {found['failed']} failed for a full disk, "
                f"{found['taken_after_full_disk']} taken after one, {found['killed_while_publishing']} killed while "
                f"publishing, {found['whole']} read and right")


if __name__ == "__main__":
    sys.exit(SnapshotCampaign.main(sys.argv[1:]))
