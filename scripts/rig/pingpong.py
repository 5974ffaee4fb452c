"""What `scripts/campaign pingpong` runs after the build, and the tests in small: see there for the options.

An instance of the older version and one of the newer hand over to each other under load, each staying as the other's
standby. Every so often the standby is ended and started anew. What they hold must stay the same, and at the end
everything must be as if one of them had served all the time."""
import json
import os
import random
import statistics
import sys
import time

import flow
import footprint
from campaign import BACKENDS, PROBLEMS, EngineCampaign, Wrong
from handover import HandoverRig, Reference, judge_run
from pair import NEW, OLD, Instance, Load, Pair

RATE = 2000
ROUND_S = 0.12  # a round takes about so long
SAMPLES = 200   # of each process as active, and as standby, about
# What the last quarter may hold more than the first: habits of jemalloc and the kernel, about a KiB for each handover
# of a thousand; a segment that is being made or let go has a descriptor for a moment.
# A process that is young still grows to its size.
SAMPLES_MIN = 40
TOLERANCE_EARLY = {"descriptors": 4, "threads": 0}
TOLERANCE = {"resident_kib": 1024, "private_kib": 1024, "descriptors": 2, "threads": 0}


def tell_compared(footprints, series_count, under_load):
    """Is what the processes hold flat: (True, False, or None when nothing could be compared; in words)."""
    if not footprints:
        return None, f"memory and descriptors not compared: too few rounds under load ({under_load})"
    flat = all(one["flat"] for one in footprints.values())
    words = f"memory and descriptors {'flat' if flat else 'NOT flat'}"
    left = series_count - len(footprints)
    return flat, words + (f" in {len(footprints)} of {series_count} series of samples, too few in the others" if left else "")


class PingPong:
    def __init__(self, rig, options):
        self.rig, self.options = rig, options
        self.random = random.Random(options.seed)
        self.work, self.sockets = rig.work / "pingpong", rig.sockets / "pingpong"
        self.work.mkdir()
        self.sockets.mkdir()
        self.pair = Pair([self.work / "a", self.work / "b"], self.instance)
        self.samples = {}
        self.gaps_ms = []
        self.restarts = 0

    def instance(self, directory, standby_of):
        """The older version in the first directory, the newer in the second; the backend is drawn."""
        program = OLD if directory == self.pair.directories[0] else NEW
        address, size = footprint.ARENA
        return Instance(self.rig.processes, self.rig.bin / program, directory, self.sockets,
                        self.work / f"log-{directory.name}",
                        ["--ticks", "client", "--io", self.random.choice(self.rig.backends), "--segment-size", "1MiB",
                         "--arena-address", hex(address), "--arena-size", size, "--rto-target", "0s",
                         "--after-handover", "standby", "--log-level", "warn"], standby_of)

    def load_options(self):
        seconds = max(2.0, self.options.rounds * ROUND_S)
        if self.options.data:
            return flow.recorded(self.options.data, seconds)
        return ["--orders", int(RATE * seconds), "--rate", RATE, "--seed", self.options.seed]

    def sample(self, number, active):
        """An active holds other things than a standby, and without load less: each is compared with itself as the same. On
        a busy machine the load may be over long before the rounds."""
        if number // 2 % max(1, self.options.rounds // 2 // SAMPLES):
            return
        load = "" if self.load.running() else ", no load"
        for directory, instance in self.pair.instances.items():
            key = f"{directory.name}, process {instance.pid}, {'active' if directory == active else 'standby'}{load}"
            self.samples.setdefault(key, []).append(footprint.take(instance.pid))

    def handover(self, active):
        """One that nobody disturbs may be refused for a standby that lags: then it is asked for again. Not for one that
        has come to another state."""
        end = time.monotonic() + self.options.budget
        while True:
            answer = self.pair.instances[active].ask("handover")
            if answer is None:
                raise Wrong(f"{active.name} hung up in a handover: see {self.pair.instances[active].log}")
            if answer["ok"]:
                return answer["handover"]["gap_ms"]
            if "differ" in answer["error"]["why"]:
                raise Wrong(answer["error"]["why"])
            self.pair.find_differences()
            if time.monotonic() > end:
                raise Wrong(f"no handover from {active.name} within {self.options.budget} s: {answer['error']['why']}")

    def restart_standby(self, active):
        standby = self.pair.other(active)
        self.pair.instances.pop(standby).terminate()
        self.pair.start(standby, standby=True)
        self.restarts += 1

    def execute(self, report):
        reference = Reference(self.rig, "uninterrupted", self.load_options())
        self.pair.start(self.pair.directories[0], standby=False)
        active = self.pair.settle(self.options.budget)
        self.load = Load(self.rig.processes, self.rig.bin / "exchange-load", self.sockets, self.work, "load",
                         self.load_options())
        under_load = 0
        for number in range(1, self.options.rounds + 1):
            # The newer version's process, when it is the standby. The older one's lives from the first to the last.
            if number // self.options.restart_every > self.restarts and active == self.pair.directories[0]:
                self.restart_standby(active)
                active = self.pair.settle(self.options.budget)
            under_load += self.load.running()
            self.gaps_ms.append(self.handover(active))
            expected, active = self.pair.other(active), self.pair.settle(self.options.budget)
            if active != expected:
                raise Wrong(f"round {number}: {active.name} serves, the handover was to {expected.name}")
            self.sample(number, active)
            report(f"{active.name} serves, gap {self.gaps_ms[-1]:.1f} ms")
        summary = self.load.finish()
        epoch = self.pair.drain_equal(self.options.budget)["epoch"]
        return self.judge(summary, reference, epoch, under_load)

    def judge(self, summary, reference, epoch, under_load):
        found = judge_run(self.rig, self.pair, self.load, self.work / "effects", summary, reference)
        footprints = {}
        for name, samples in self.samples.items():
            compared = footprint.compare(samples, TOLERANCE if len(samples) >= SAMPLES_MIN else TOLERANCE_EARLY)
            if compared:
                footprints[name] = compared
        gaps = sorted(self.gaps_ms)
        flat, compared = tell_compared(footprints, len(self.samples), under_load)
        found.update(epoch=epoch, under_load=under_load, restarts=self.restarts, footprints=footprints, flat=flat,
                     compared=compared,
                     gap_ms={"p50": round(statistics.median(gaps), 3),
                             "p99": round(gaps[max(0, -(-99 * len(gaps) // 100) - 1)], 3), "max": round(gaps[-1], 3)})
        found["good"] = found["good"] and flat is not False
        return found


class PingPongCampaign(EngineCampaign):
    name = "pingpong"
    rounds_default = 1000
    own_options = {"--restart-every": 100, "--budget": 30, "--io": BACKENDS, "--data": None}

    def play(self, processes):
        self.say(f"seed {self.options.seed}")
        rig = HandoverRig(self.options, self.work, self.sockets, processes)
        try:
            found = PingPong(rig, self.options).execute(self.on_round)
        except PROBLEMS as problem:
            self.say(f"\nbaton: seed {self.options.seed}, after round {self.rounds}: {problem}\n{self.repeat()}")
            return self.conclude([{"good": False, "problem": str(problem)}], False)
        self.tell(found)
        self.verdict = f"{found['compared']}; nothing lost, doubled or reordered, every digest equal"
        return self.conclude([found], found["good"], machine_load=os.getloadavg()[0])

    def repeat(self):
        options = self.options
        data = f" --data {options.data}" if options.data else ""
        return (f"repeat it: scripts/campaign pingpong --rounds {options.rounds} "
                f"--restart-every {options.restart_every} --seed {options.seed} --io {options.io}{data}")

    def tell(self, found):
        gap = found["gap_ms"]
        self.say(f"{self.rounds} handovers, {found['under_load']} under load, {found['restarts']} standbys restarted, "
                 f"{found['commands']} commands, gap p50 {gap['p50']} ms, p99 {gap['p99']} ms, max {gap['max']} ms  "
                 f"{self.progress()}")
        for name, one in found["footprints"].items():
            self.say(f"  {name}: " + ", ".join(f"{what} {one[what]['first']:.0f} to {one[what]['last']:.0f}"
                                               for what in TOLERANCE if what in one))
        if not found["good"]:
            self.say(f"WRONG {json.dumps(found)}\n{self.repeat()}")


if __name__ == "__main__":
    sys.exit(PingPongCampaign.main(sys.argv[1:]))
