"""What `scripts/campaign kill` runs after the build, and the tests in small: see there for the options.

A run is one journal and the writers that work on it one after another, each killed while up to 64 large writes are in
flight, each followed at once by the next. What a dead writer still had in flight lands while its successor is already
there. Every writer says what is durable; none of that may be missing, no entry may hold other bytes than its writer
gave it, and each epoch must end exactly where the writer after it said that it ends. A round is one kill."""
import json
import re
import subprocess
import sys
import time

from campaign import Wrong
from killed import DEADLINE_S, FULL, LOAD, ROOM, START, Killed, KilledCampaign, KilledRun, NoSpace

VERIFIES = 20  # of what the last dead writer left, one after another
MOMENT_S = 0.03
WRITES_DEEP, ENTRY_BYTES = 56, 50000  # journal_kill_writer.c: up to 64 in flight, 48 KiB an entry on average
EXIT_TORN = 10
KEPT_ENTRIES = 100  # behind the durable end, where the writer retires


class Writer(Killed):
    """One process of tests/e2e/journal_kill_writer.c, and what it has said."""
    called = "writer"
    line = re.compile(rb"(recovered|durable|full|room|retiring) (\d+)"
                      rb"(?: epoch (\d+) torn (\d+) unproven (\d+)| appended (\d+))?")

    def __init__(self, run, backend, batch_bytes, segment_bytes):
        self.described = f"{backend}, batches of {batch_bytes >> 10} KiB, segments of {segment_bytes >> 20} MiB"
        self.kept_from = 1
        self.epoch = self.recovered = self.durable = self.appended = None
        self.torn = self.unproven = self.entries_in_flight = 0
        self.entries_deep = WRITES_DEEP * batch_bytes // ENTRY_BYTES
        self.is_full = False
        super().__init__(run, "write", run.directory, backend, batch_bytes, segment_bytes,
                         KEPT_ENTRIES if run.retires else 0)

    def has_begun(self):
        return self.recovered is not None

    def hear(self, match):
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


class KillRun(KilledRun):
    name = "kill"
    tests_program = "journal_kill_writer"
    holds = "journal"

    def __init__(self, rig, place, seed, rounds, report):
        super().__init__(rig, place, seed, rounds, report)
        self.writers = []  # those that began an epoch, in order
        self.acked, self.kept_from = 0, 1
        drawn = {"drawn": self.random.random() < 0.5, "always": True, "never": False}[rig.options.retire]
        self.retires = drawn and not place.can_be_filled  # no disk that retires stays full
        self.had_ballast = False  # room for one begin on a full disk (J6)
        self.found.update(torn_cut=0, unproven=0, verifies=0, in_flight_max=0, begun_on_full_disk=0,
                          refused_on_full_disk=0, recycled=0)

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
                successor.wait(successor.has_begun, "recovery")
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
        kinds = self.draw_kinds((70, 15, 30, 15), (85, 15, 0, 0))
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
        done = subprocess.run([self.program, "read", self.directory], stdout=subprocess.PIPE,
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


class KillCampaign(KilledCampaign):
    name = "kill"
    own_options = {**KilledCampaign.own_options, "--retire": ["drawn", "always", "never"]}
    verdict = "nothing lost, nothing invented, no late write did harm"
    run_class = KillRun
    directory_is = "journal"

    def found_text(self, found):
        return (f"{found['epochs']} epochs, {found['in_flight_max']} in flight at most, {found['torn_cut']} torn bytes "
                f"cut, recycled segments {found['recycled']} times, {found['verifies']} verifies")

    def repeat_options(self):
        return f" --retire {self.options.retire}"


if __name__ == "__main__":
    sys.exit(KillCampaign.main(sys.argv[1:]))
