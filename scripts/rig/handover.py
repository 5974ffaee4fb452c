"""What `scripts/campaign handover` runs after the build, and the tests in small: see there for the options.

A run is one stream of commands, and two instances that hand over to each other meanwhile, time and again. A round is
one handover that is asked for and disturbed: either side, or both, killed or stopped, their connection cut, the one who
asked killed, at any moment. Then the operator starts again what has ended; within the budget one of the two serves, and
the other one follows it. At the end of a run everything must be as if nothing had happened."""
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time

import flow
import judge
import peer_cut
from campaign import BACKENDS, PROBLEMS, EngineCampaign, Rig, Wrong
from pair import NEW, OLD, Instance, Load, Pair

RATE = 4000
ROUND_S = 1.2  # a round takes about so long: the load lasts as long as the rounds, about
MOMENT_S = 0.025  # of a handover that nobody disturbs, until some were seen
MOMENT_MAX_S = 0.2
STOPPED = b"reached=stopped"  # in the active's log, then:
GAP_S = 0.006  # in which the gap is, mostly: half of the moments are drawn from there
LATE_S = 0.1  # another kill comes at most so long after the restart
STOPPED_S = 0.6
ASKED_S = 10

# What is done, and how often.
ACTS = {"nothing": 8, "kill active": 16, "kill standby": 14, "kill both": 12, "stop active": 12, "stop standby": 8,
        "stop both": 5, "cut": 12, "cut, kill active": 5, "cut, kill standby": 5, "kill asker": 6}
AGAIN = 0.2  # of the rounds: somebody is killed once more, in his start
FRESH = 0.15  # of the rounds whose standby is the second directory: it begins anew, with nothing


def start_options(run):
    chance, rig = run.random, run.rig
    return ["--ticks", "client", "--io", chance.choice(rig.backends),
            "--snapshot-every", chance.choice((0, 3000)), "--checkpoint-every", chance.choice((500, 10000)),
            "--segment-size", run.segment_size, "--snapshot-form", chance.choice(rig.forms),
            "--after-handover", chance.choice(("exit", "standby"))]


class Reference:
    """The same stream of commands, and nobody disturbs the engine. It runs beside the other one."""

    def __init__(self, rig, name, load_options):
        self.rig, self.work, sockets = rig, rig.work / name, rig.sockets / name
        self.work.mkdir()
        sockets.mkdir()
        self.engine = Instance(rig.processes, rig.bin / OLD, self.work / "plain", sockets, self.work / "log",
                               ["--ticks", "client", "--io", rig.backends[-1], "--segment-size", "4MiB"])
        self.load = Load(rig.processes, rig.bin / "exchange-load", sockets, self.work, "load", load_options)

    def finish(self):
        self.summary = self.load.finish()
        self.engine.terminate()
        self.effects = self.work / "effects"
        self.judged = judge.replay(self.rig.bin / NEW, self.engine.directory, self.effects)
        self.acks = judge.read_acks(self.load.acks)


def judge_run(rig, pair, load, effects, summary, reference):
    """The first directory has the journal from entry 1; both must have come to the same. The last active's was closed,
    and goes on where the other one's ends."""
    directories = pair.directories
    verified = subprocess.run([rig.bin / "baton", "journal", "verify", pair.other(pair.authority), pair.authority],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if verified.returncode != 0:
        raise Wrong(f"baton journal verify: {verified.stdout.strip()}")
    reference.finish()
    acks = judge.read_acks(load.acks)
    journaled = judge.journaled_commands(rig.bin / "baton", directories[0] / "journal")
    lost, doubled = judge.judge(acks, journaled)
    ours = [judge.replay(rig.bin / NEW, directories[0], effects), judge.digest(rig.bin / NEW, directories[1])]
    found = {"commands": summary["commands"], "acked": summary["acked"], "refused": summary["refused"],
             "resent": summary["resent"], "lost": lost + summary["commands"] - summary["acked"],
             "doubled": doubled + summary["conflicts"], "reordered": judge.reordered(journaled),
             "effects_equal": judge.same_effects(effects, reference.effects),
             "acks_equal": judge.same_acks(acks, reference.acks)}
    for digest in ("state_digest", "effect_digest"):
        found[digest], found[f"{digest}_uninterrupted"] = ours[0][digest], reference.judged[digest]
        found[f"{digest}s_equal"] = ours[0][digest] == ours[1][digest] == reference.judged[digest]
    found["good"] = (found["lost"] == found["doubled"] == found["reordered"] == found["refused"] == 0
                     and found["effects_equal"] and found["acks_equal"] and found["state_digests_equal"]
                     and found["effect_digests_equal"])
    return found


class HandoverRig(Rig):
    def __init__(self, options, work, sockets, processes):
        super().__init__(options, work, processes)
        self.sockets = sockets
        self.forms = ["portable", "image"]
        self.may_cut = peer_cut.is_allowed()
        self.took_s = []  # those that nobody disturbed

    def moment_s(self):
        """Of a handover the latest moment that is drawn: about its end; on a busy machine most of it is waiting."""
        return min(1.1 * statistics.median(self.took_s[-9:] or [MOMENT_S]), MOMENT_MAX_S)


class HandoverRun:
    """Everything that is random comes from the seed, but what the machine makes of it."""

    def __init__(self, rig, seed, rounds, report):
        self.rig, self.seed, self.rounds, self.report = rig, seed, rounds, report
        self.random = random.Random(seed)
        self.segment_size = self.random.choice(("1MiB", "4MiB"))  # the largest batch depends on it: one for both
        self.name = f"handover-{seed}"
        self.work, self.sockets = rig.work / self.name, rig.sockets / self.name
        self.work.mkdir()
        self.sockets.mkdir()
        self.found = {"seed": seed, "rounds": rounds, "moved": 0, "fell_back": 0, "stayed": 0, "under_load": 0,
                      "in_gap": 0, "connections_cut": 0, "renewed": 0, "starts": 0, "settle_ms_max": 0.0}

    def instance(self, directory, standby_of):
        return Instance(self.rig.processes, self.rig.bin / self.random.choice((OLD, NEW)), directory, self.sockets,
                        self.work / f"log-{directory.name}", start_options(self), standby_of)

    def load_options(self):
        options = self.rig.options
        if options.data:
            return flow.recorded(options.data, self.rounds * ROUND_S)
        return ["--orders", int(RATE * ROUND_S * self.rounds), "--rate", RATE, "--seed", self.seed]

    def begin(self):
        """One of the old version serves, and has pinned its schema; the other one follows from entry 1."""
        self.pair = Pair([self.work / "a", self.work / "b"], self.instance)
        first = self.pair.directories[0]
        self.pair.instances[first] = Instance(self.rig.processes, self.rig.bin / OLD, first, self.sockets,
                                              self.work / "log-a", start_options(self))
        self.pair.settle(self.rig.options.budget)
        self.load = Load(self.rig.processes, self.rig.bin / "exchange-load", self.sockets, self.work, "load",
                         self.load_options())

    def disturb(self, act, active, asked):
        """Whose processes are meant is what they were before."""
        pair = self.pair
        sides = [side for side, named in ((active, "active"), (pair.other(active), "standby"))
                 if named in act or "both" in act]
        if act.startswith("cut"):
            self.found["connections_cut"] += peer_cut.cut(pair.instances[active].pid, active / "handover.sock")
        if "kill" in act:
            if act == "kill asker":
                asked.kill()
            for side in sides:
                pair.instances[side].child.kill()
            for side in sides:
                pair.instances[side].child.wait()
        if act.startswith("stop"):
            for side in sides:
                pair.instances[side].send(signal.SIGSTOP)
            time.sleep(self.random.uniform(0, STOPPED_S))
            for side in sides:
                pair.instances[side].send(signal.SIGCONT)

    def end_of_asking(self, asked):
        try:
            return asked.wait(ASKED_S + self.rig.options.budget)
        except subprocess.TimeoutExpired:
            raise Wrong(f"`baton service handover` did not end, its --timeout is {ASKED_S} s") from None

    def round(self, act):
        pair, chance = self.pair, self.random
        active = pair.settle(self.rig.options.budget)
        if chance.random() < FRESH and active == pair.directories[0]:
            self.renew_standby()
        time.sleep(chance.uniform(0, 0.2))
        under_load = self.load.running()
        epoch = pair.instances[active].status()["epoch"]
        in_gap = chance.random() < 0.5
        moment_s = chance.uniform(0, GAP_S if in_gap else self.rig.moment_s())
        again_s = chance.uniform(0, LATE_S) if chance.random() < AGAIN else None
        victim = chance.choice(pair.directories)
        log_bytes = pair.instances[active].log.stat().st_size
        began = time.monotonic()
        asked = self.rig.processes.start(
            [self.rig.bin / "baton", "service", "handover", pair.instances[active].control, "--timeout", f"{ASKED_S}s",
             "--max-gap", chance.choice(("250ms", "100ms"))], self.work / "log-asker", self.work / "log-asker")
        if act != "nothing":
            if in_gap:
                self.found["in_gap"] += pair.instances[active].wait_said(STOPPED, log_bytes, ASKED_S)
            time.sleep(moment_s)
            self.disturb(act, active, asked)
        disturbed = time.monotonic()
        if again_s is not None:
            self.kill_again(victim, again_s)
        code = self.end_of_asking(asked)
        if act == "nothing" and again_s is None and code == 0:
            self.rig.took_s.append(time.monotonic() - began)
        after = pair.settle(self.rig.options.budget)
        self.note(active, epoch, after, pair.instances[after].status()["epoch"])
        settle_ms = (time.monotonic() - disturbed) * 1e3
        self.found["settle_ms_max"] = max(self.found["settle_ms_max"], round(settle_ms, 1))
        self.found["under_load"] += under_load
        self.report(f"seed {self.seed}  {act} after {moment_s * 1e3:.1f} ms"
                    f"{' of the gap' if in_gap else ''}{', again' if again_s is not None else ''}: "
                    f"asker {code}, {active.name} in {epoch} -> {after.name} in "
                    f"{pair.instances[after].status()['epoch']}, settled in {settle_ms:.0f} ms")

    def renew_standby(self):
        """From a snapshot of the active, if there is one. The first directory keeps the journal from entry 1."""
        standby = self.pair.directories[1]
        self.pair.instances.pop(standby).kill()
        shutil.rmtree(standby)
        self.pair.start(standby, standby=True)
        self.pair.settle(self.rig.options.budget)
        self.found["renewed"] += 1

    def kill_again(self, victim, again_s):
        """Whoever has ended is started once, as the operator would; a moment later one of them is killed."""
        self.pair.operate(self.pair.phases())
        time.sleep(again_s)
        if victim in self.pair.instances:
            self.pair.instances[victim].kill()

    def note(self, active, epoch, after, epoch_after):
        if epoch_after < epoch:
            raise Wrong(f"the epoch went back from {epoch} to {epoch_after}")
        self.found["moved" if after != active else "fell_back" if epoch_after > epoch + 1 else "stayed"] += 1

    def execute(self):
        reference = Reference(self.rig, f"{self.name}-uninterrupted", self.load_options())
        self.begin()
        acts = [act for act in ACTS if self.rig.may_cut or not act.startswith("cut")]
        drawn = ["nothing"] + self.random.choices(acts, [ACTS[act] for act in acts], k=self.rounds - 1)
        for act in drawn:
            self.round(act)
        summary = self.load_finished()
        self.pair.drain_equal(self.rig.options.budget)
        self.found.update(starts=self.pair.starts)
        self.found.update(judge_run(self.rig, self.pair, self.load, self.work / "effects", summary, reference))
        return self.found

    def load_finished(self):
        """While it lasts the operator is there."""
        while self.load.running():
            self.pair.settle(self.rig.options.budget)
            time.sleep(0.05)
        return self.load.finish()


class HandoverCampaign(EngineCampaign):
    name = "handover"
    rounds_default = 20
    own_options = {"--rounds-per-run": 10, "--budget": 30, "--io": BACKENDS, "--data": None}
    verdict = "one writer for each seq, nothing lost, doubled or reordered, every digest equal"

    def play(self, processes):
        rig = HandoverRig(self.options, self.work, self.sockets, processes)
        if not rig.may_cut:
            self.say("this container denies pidfd_getfd: connections are not cut")
        runs, good = self.run(rig)
        return self.conclude(runs, good, may_cut=rig.may_cut)

    def repeat(self, seed, rounds):
        options = self.options
        data = f" --data {options.data}" if options.data else ""
        return (f"repeat it: scripts/campaign handover --rounds {rounds} --rounds-per-run {rounds} --seed {seed} "
                f"--io {options.io} --budget {options.budget}{data}")

    def tell(self, found):
        verdict = "good" if found["good"] else "WRONG " + json.dumps(found)
        self.say(f"seed {found['seed']}: {found['rounds']} rounds in {found['commands']} commands, {found['moved']} "
                 f"moved, {found['stayed']} stayed, {found['fell_back']} fell back, {found['in_gap']} met in the gap, "
                 f"{found['connections_cut']} connections cut, {found['renewed']} standbys anew, "
                 f"{found['starts']} starts, settled in {found['settle_ms_max']:.0f} ms at most: {verdict}  "
                 f"{self.progress()}")

    def run(self, rig):
        """All rounds, in runs; ends at the first wrong one. Returns (runs, is all good)."""
        runs, seed = [], self.options.seed
        while self.rounds < self.options.rounds:
            rounds = min(self.options.rounds_per_run, self.options.rounds - self.rounds)
            run = HandoverRun(rig, seed, rounds, self.on_round)
            try:
                found = run.execute()
            except PROBLEMS as problem:
                self.say(f"\nbaton: seed {seed}, after round {self.rounds}: {problem}\n{self.repeat(seed, rounds)}")
                return runs + [{**run.found, "good": False, "problem": str(problem)}], False
            runs.append(found)
            self.tell(found)
            if not found["good"]:
                self.say(self.repeat(seed, rounds))
                return runs, False
            shutil.rmtree(run.work)
            shutil.rmtree(rig.work / f"{run.name}-uninterrupted")
            seed += 1
        return runs, True


if __name__ == "__main__":
    sys.exit(HandoverCampaign.main(sys.argv[1:]))
