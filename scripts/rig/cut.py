"""What `scripts/campaign cut` runs after the build, and the tests in small: see there for the options.

A run is one stream of commands during which the engine is cut off several times, by SIGTERM, by SIGKILL, by SIGKILL in
the middle of its drain or of its start, and taken up again, at last by the newer version. At its end everything must be
as if nothing had happened: the judge compares with the same stream, uninterrupted. A round is one cut."""
import json
import random
import shutil
import signal
import subprocess
import sys
import time

import flow
import judge
from campaign import BACKENDS, PROBLEMS, EngineCampaign, Rig, Wrong
from processes import Engine, Failed

OLD, NEW = "matching-engine-1.0.0", "matching-engine-1.1.0"
GENERATED_RATE = 20000
RECORDED_SECONDS = 4
MOMENT_S = 0.05  # a second signal comes at most so long after the first

KINDS = ("SIGTERM", "SIGKILL", "SIGKILL in the drain", "SIGKILL in the start")
WEIGHTS = (40, 40, 10, 10)
EFFECT_REPORT, ITEMS_TRADES = 70, 1  # matching_engine.h, protocol.h


class Flow:
    """One stream of commands, and what it does to an engine that nobody disturbs."""

    def __init__(self, rig, name, load_options):
        self.name = name
        self.load_options = load_options
        self.run = rig.new_run(f"{name}-uninterrupted")
        engine = self.run.engine(OLD, rig.backends[0])
        self.summary = self.run.finish_load(self.run.load(engine, load_options))
        engine.terminate()
        self.commands = self.summary["commands"]
        self.judged = judge.replay(rig.bin / NEW, self.run.directory, self.run.effects)


class Run:
    """A directory of data, the engines that work on it one after another, and their load."""

    def __init__(self, rig, name):
        self.rig = rig
        self.work = rig.work / name
        self.sockets = rig.sockets / name
        self.work.mkdir()
        self.sockets.mkdir()
        self.directory = self.work / "data"
        self.effects = self.work / "effects"
        self.acks = self.work / "acks"

    def engine(self, version, backend, options=(), wait=True):
        return Engine(self.rig.processes, self.rig.bin / version, self.directory, self.sockets, self.work / "log",
                      ["--ticks", "client", "--io", backend, *options], wait)

    def load(self, engine, load_options):
        return self.rig.processes.start(
            [self.rig.bin / "exchange-load", "--connect", engine.listen, "--virtual-time", *load_options,
             "--acks-out", self.acks, "--json", self.work / "load.json"],
            stdout=subprocess.DEVNULL, stderr=self.work / "load.log")

    def finish_load(self, load):
        code = load.wait()
        if not (self.work / "load.json").exists():
            raise Failed(f"run the load: it ended with {code}: see {self.work}/load.log")
        return json.loads((self.work / "load.json").read_text())


class CutRig(Rig):
    def __init__(self, options, work, sockets, processes):
        super().__init__(options, work, processes)
        self.sockets = sockets
        self.forms = ["portable", "image"] if options.form == "both" else [options.form]
        self._recorded = None

    def new_run(self, name):
        return Run(self, name)

    def flow(self, seed):
        """The same recorded flow for every run; a generated one for each."""
        if not self.options.data:
            return Flow(self, f"generated-{seed}", ["--orders", self.options.orders, "--rate", GENERATED_RATE,
                                                    "--seed", seed])
        if not self._recorded:
            self._recorded = Flow(self, "recorded", flow.recorded(self.options.data, RECORDED_SECONDS))
        return self._recorded


class CutRun:
    """Everything that is random comes from the seed, but what the machine makes of it."""

    def __init__(self, rig, seed, cuts, report):
        self.rig = rig
        self.seed = seed
        self.cuts = cuts
        self.report = report
        self.random = random.Random(seed)
        self.flow = rig.flow(seed)
        self.run = rig.new_run(f"cut-{seed}")

    def start(self, version, hurried=False):
        """The next engine: its backend and habits are drawn. Hurried: first one that is killed while it starts."""
        backend = self.random.choice(self.rig.backends)
        options = ["--snapshot-every", self.random.choice((0, 3000)),
                   "--checkpoint-every", self.random.choice((500, 10000)),
                   "--segment-size", self.random.choice(("1MiB", "64MiB")),
                   "--snapshot-form", self.random.choice(self.rig.forms)]
        if hurried:
            killed = self.run.engine(version, backend, options, wait=False)
            time.sleep(self.random.uniform(0, 2 * MOMENT_S))
            killed.kill()
        engine = self.run.engine(version, backend, options)
        engine.described = f"{version} {backend}"
        return engine

    def cut(self, engine, kind):
        """Returns what clients may already know of: the last seq whose effects were seen released."""
        released = engine.status()["released_seq"]
        if kind == KINDS[0]:
            engine.terminate()
        elif kind == KINDS[2]:
            engine.child.send_signal(signal.SIGTERM)
            time.sleep(self.random.uniform(0, MOMENT_S))
            engine.kill()
        else:
            engine.kill()
        return released

    def execute(self):
        kinds = self.random.choices(KINDS, WEIGHTS, k=self.cuts)
        moments = sorted(self.random.randrange(1, self.flow.commands) for _ in kinds)
        # The older version makes the data, and so pins its schema until someone finalizes: either can go on with it.
        versions = self.random.choices((OLD, NEW), k=self.cuts - 1) + [NEW]
        engine = self.start(OLD)
        load = self.run.load(engine, self.flow.load_options)
        for number, (kind, moment, version) in enumerate(zip(kinds, moments, versions), 1):
            seq = engine.seq()
            while seq < moment:
                ended = load.poll() is not None  # asked first: what it sent before its end counts
                time.sleep(0.001)
                seq = engine.seq()
                if ended and seq < moment:
                    raise Wrong(f"the load ended with {load.returncode} at seq {seq}: see {self.run.work}/load.log")
            released = self.cut(engine, kind)
            engine = self.start(version, hurried=kind == KINDS[3])
            hydrate = engine.ready["hydrate"]
            recovered = engine.ready["seq"]
            self.report({"seed": self.seed, "round": number, "kind": kind, "seq": released, "recovered": recovered,
                         "replayed": hydrate["replayed_entries"], "hydrate_ms": hydrate["total_ms"],
                         "torn_cut": hydrate["recovery"]["torn_cut"], "next": engine.described})
            if recovered < released or hydrate["recovery"]["acked_lost"]:
                raise Wrong(f"released up to {released}, recovered up to {recovered}")
        summary = self.run.finish_load(load)
        engine.terminate()
        return self.judge(summary)

    def judge(self, load):
        plain, run = self.flow, self.run
        acks = judge.read_acks(run.acks)
        lost, doubled = judge.judge(acks, judge.journaled_commands(self.rig.bin / "baton", run.directory / "journal"))
        cut = judge.replay(self.rig.bin / NEW, run.directory, run.effects)
        found = {"seed": self.seed, "flow": plain.name, "cuts": self.cuts, "commands": load["commands"],
                 "acked": load["acked"], "refused": load["refused"], "resent": load["resent"],
                 "lost": lost + load["commands"] - load["acked"], "doubled": doubled + load["conflicts"],
                 "fills": fills(run.effects), "fills_uninterrupted": fills(plain.run.effects),
                 "effects_equal": judge.same_effects(run.effects, plain.run.effects),
                 "acks_equal": judge.same_acks(acks, judge.read_acks(plain.run.acks))}
        for digest in ("state_digest", "effect_digest"):
            found[digest], found[f"{digest}_uninterrupted"] = cut[digest], plain.judged[digest]
        found["good"] = (found["lost"] == found["doubled"] == found["refused"] == 0 and found["effects_equal"]
                         and found["acks_equal"] and found["fills"] == found["fills_uninterrupted"]
                         and found["state_digest"] == found["state_digest_uninterrupted"]
                         and found["effect_digest"] == found["effect_digest_uninterrupted"])
        verified = subprocess.run([self.rig.bin / "baton", "journal", "verify", run.directory / "journal"],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if verified.returncode != 0:
            raise Wrong(f"baton journal verify: {verified.stdout.strip()}")
        return found


def fills(effects):
    """How many trades an --effects file holds."""
    count = 0
    with open(effects) as file:
        for line in file:
            effect = json.loads(line)
            if effect["type"] == EFFECT_REPORT:
                report = bytes.fromhex(effect["payload_hex"])
                if report[87] == ITEMS_TRADES:
                    count += int.from_bytes(report[76:80], "little")
    return count


class CutCampaign(EngineCampaign):
    name = "cut"
    rounds_default = 20
    own_options = {"--cuts-per-run": 20, "--io": BACKENDS, "--form": ["both", "portable", "image"], "--data": None,
                   "--orders": 40000}
    verdict = "nothing lost, nothing doubled, every digest equal"

    def play(self, processes):
        runs, good = self.run(CutRig(self.options, self.work, self.sockets, processes))
        return self.conclude(runs, good)

    def on_cut(self, row):
        self.on_round(f"seed {row['seed']}  {row['kind']} at {row['seq']}: recovered {row['recovered']} in "
                      f"{row['hydrate_ms']:.0f} ms, {row['next']}")

    def repeat(self, seed, cuts):
        options = self.options
        of_flow = f"--data {options.data}" if options.data else f"--orders {options.orders}"
        form = "" if options.form == "both" else f"--form {options.form} "
        return (f"scripts/campaign cut --rounds {cuts} --cuts-per-run {cuts} --seed {seed} --io {options.io} {form}"
                f"{of_flow}")

    def print_run(self, found):
        self.say(f"seed {found['seed']}: {found['cuts']} cuts in {found['commands']} commands, {found['fills']} fills, "
                 f"{found['resent']} resent: {'good' if found['good'] else 'WRONG ' + json.dumps(found)}"
                 f"  {self.progress()}")

    def run(self, rig):
        """All rounds, in runs; ends at the first wrong one. Returns (runs, is all good)."""
        runs = []
        seed = self.options.seed
        while self.rounds < self.options.rounds:
            cuts = min(self.options.cuts_per_run, self.options.rounds - self.rounds)
            try:
                cut_run = CutRun(rig, seed, cuts, self.on_cut)
                found = cut_run.execute()
            except PROBLEMS as problem:
                self.say(f"\nbaton: seed {seed}, after round {self.rounds}: {problem}\n"
                         f"repeat it: {self.repeat(seed, cuts)}")
                return runs, False
            runs.append(found)
            self.print_run(found)
            if not found["good"]:
                self.say(f"repeat it: {self.repeat(seed, cuts)}")
                return runs, False
            self.forget(cut_run, rig)
            seed += 1
        return runs, True

    def forget(self, cut_run, rig):
        """What was good is not kept: a campaign is long."""
        shutil.rmtree(cut_run.run.work)
        if not self.options.data:
            shutil.rmtree(cut_run.flow.run.work)


if __name__ == "__main__":
    sys.exit(CutCampaign.main(sys.argv[1:]))
