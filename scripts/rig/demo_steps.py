"""What scripts/demo performs: a matching engine under load, and four changes of the process that serves."""
import random
import re
import subprocess
import sys
import time

import flow
import judge
from pair import Instance, Load
from processes import Engine, Failed

OLD, NEW, BAD = "matching-engine-1.0.0", "matching-engine-1.1.0", "matching-engine-1.2.0"
QUICK = {"orders": 70000, "rate": 10000, "messages": 24000}
FULL = {"orders": 300000, "rate": 15000, "messages": 0}
DATA_SECONDS = {True: 8, False: 25}  # how long recorded flow takes, quick or not
# Of the commands, when each step begins: somewhere between, by the seed.
UPGRADE, REFUSED, ROLLBACK, SIGTERM = (0.15, 0.22), (0.38, 0.45), (0.58, 0.66), (0.78, 0.86)
ORDERS_TO_DIFFER = 2000  # 1.2.0 decides by the clock about once in 64
DIFFERENCE = re.compile(r"^baton: [^:]+: (entries \d+ to \d+: .*? digest is \w+ now, it was \w+)", re.MULTILINE)
BUDGET_S = 60
# The writer's checkpoints would find 1.2.0 out before anyone asks for a handover: here the handover may do it.
ENGINE_OPTIONS = ["--ticks", "client", "--checkpoint-every", 100000000]


def version(program):
    return program.rpartition("-")[2]


class Demo:
    def __init__(self, options, work, sockets, processes):
        self.options, self.work, self.sockets, self.processes = options, work, sockets, processes
        self.bin = options.bin
        self.random = random.Random(options.seed)
        self.live = sys.stderr.isatty()
        self.steps = []
        size = dict(QUICK if options.quick else FULL)
        size["orders"], size["rate"] = options.orders or size["orders"], options.rate or size["rate"]
        self.load_options = (flow.recorded(options.data, DATA_SECONDS[options.quick],
                                           size["messages"]) if options.data else
                             ["--orders", size["orders"], "--rate", size["rate"], "--seed", options.seed])
        # About how many: only the moments of the steps depend on it.
        self.commands = int(0.9 * (size["messages"] or 90000)) if options.data else size["orders"]

    def say(self, text):
        if self.live:
            print("\r\x1b[K" + text, file=sys.stderr, flush=True)

    def instance(self, program, name, standby_of=None, *options):
        return Instance(self.processes, self.bin / program, self.work / name, self.sockets, self.work / f"{name}.log",
                        ["--io", self.options.io, *ENGINE_OPTIONS, *options], standby_of)

    def cold(self, program, name, sockets):
        """A start that everyone waits for."""
        return Engine(self.processes, self.bin / program, self.work / name, sockets, self.work / f"{name}.log",
                      ["--io", self.options.io, *ENGINE_OPTIONS])

    def start_load(self, sockets, run):
        return Load(self.processes, self.bin / "exchange-load", sockets, self.work, run, self.load_options,
                    progress=sys.stderr.buffer if self.live else None)

    def finish_load(self, load, run):
        summary = load.finish()
        if load.child.returncode != 0:
            raise Failed(f"run the load: it ended with {load.child.returncode}: see {self.work}/{run}.json and .log")
        return summary

    # ---- waiting ----

    def wait_for(self, instance, what, holds):
        """Until holds(its status); only a hang is bounded."""
        end = time.monotonic() + BUDGET_S
        while True:
            status = instance.status()
            if status and holds(status):
                return status
            if not instance.running():
                code = instance.child.wait()
                raise Failed(f"wait for {what}: {instance.program} ended with {code}: see {instance.log}")
            if time.monotonic() > end:
                raise Failed(f"wait for {what}: not within {BUDGET_S} s: see {instance.log}")
            time.sleep(0.005)

    def wait_share(self, active, share):
        """Until about that share of all commands has come, or the load is over."""
        seq = self.random.uniform(*share) * self.commands
        return self.wait_for(active, "orders", lambda status: status["seq"] >= seq or not self.load.running())

    def wait_followed(self, active, standby):
        self.wait_for(standby, "a standby", lambda status: status["phase"] == "following")
        nonce = standby.status()["instance"]["nonce"]
        self.wait_for(active, "a standby", lambda status: any(
            one["nonce"] == nonce and one["following"] for one in status["followers"]))
        return nonce

    # ---- the steps ----

    def note(self, name, from_version, to_version, outcome, began_ns, ended_ns, **more):
        self.steps.append({"step": name, "from": from_version, "to": to_version, "outcome": outcome,
                           "began_ns": began_ns, "ended_ns": ended_ns, "under_load": self.load.running(), **more})

    def hand_over(self, name, active, standby, nonce):
        """Asks for it as `baton service handover` does."""
        began_ns = time.monotonic_ns()
        answer = active.ask("handover", to=nonce)
        ended_ns = time.monotonic_ns()
        if answer is None:
            raise Failed(f"{name}: {active.program} hung up: see {active.log}")
        if not answer["ok"]:
            raise Failed(f"{name}: refused: {answer['error']['why']}")
        status = self.wait_for(standby, f"{standby.program} to serve", lambda status: status["phase"] == "running")
        self.note(name, version(active.program), version(standby.program), "done", began_ns, ended_ns,
                  handover_ms=answer["handover"]["gap_ms"], seq=answer["handover"]["seq"], epoch=status["epoch"])

    def upgrade(self, first):
        self.say(f"seed {self.options.seed}: load on {OLD}; {NEW} follows it")
        second = self.instance(NEW, "b", first.directory)
        nonce = self.wait_followed(first, second)
        self.wait_share(first, UPGRADE)
        self.say("handover to 1.1.0")
        self.hand_over("upgrade", first, second, nonce)
        return second

    def wait_differing(self, active, third):
        """Until it has come to another state for sure, or has found that out, and ended."""
        def over():
            return not third.running() or not self.load.running()

        status = self.wait_for(active, "a standby", lambda status: over() or any(
            one["directory"] == str(third.directory) and one["following"] for one in status["followers"]))
        seq = max(self.random.uniform(*REFUSED) * self.commands, status["seq"] + ORDERS_TO_DIFFER)
        self.wait_for(active, "orders", lambda status: over() or status["seq"] >= seq)
        if third.running() and not self.load.running():
            raise Failed("upgrade to 1.2.0: the orders were over before it had come to another state: this machine is "
                         "too busy: run the demo again, without --quick")

    def refusal(self, active, third):
        """By digests: the active's words, which was asked; or the third one's, which compares what each batch and
        checkpoint tells. Another refusal is of a busy machine: it is asked again."""
        end = time.monotonic() + BUDGET_S
        while third.running():
            status = third.status()
            answer = active.ask("handover", to=status["instance"]["nonce"]) if status else {"ok": False}
            if answer is None:
                raise Failed(f"refused upgrade: {active.program} hung up: see {active.log}")
            if answer["ok"]:
                raise Failed(f"{BAD} was given authority although it decides by the clock: see {third.log}")
            why = answer["error"]["why"] if "error" in answer else "it does not say its status"
            if "differ" in why:
                return why
            if time.monotonic() > end:
                raise Failed(f"refused upgrade: not for its digests within {BUDGET_S} s: {why}: see {third.log}")
            time.sleep(0.005)
        difference = DIFFERENCE.search(third.said())
        if not difference:
            raise Failed(f"refused upgrade: {BAD} ended with {third.child.returncode}: see {third.log}")
        return f"{version(BAD)} saw it first, and ended: {difference[1]}"

    def refused_upgrade(self, active):
        """From a snapshot on, the third one applies what the active takes, and comes to other states."""
        self.say(f"{NEW} serves; {BAD} follows it")
        if not active.ask("snapshot")["ok"]:
            raise Failed(f"take a snapshot: see {active.log}")
        third = self.instance(BAD, "c", active.directory)
        self.wait_differing(active, third)
        self.say("handover to 1.2.0, which has come to other states")
        began_ns = time.monotonic_ns()
        why = self.refusal(active, third)
        self.note("refused upgrade", version(active.program), version(BAD), "refused", began_ns, time.monotonic_ns(),
                  why=why)
        self.wait_for(active, f"{NEW} to serve on", lambda status: status["phase"] == "running")
        self.say(f"refused: {why}")
        third.kill()

    def roll_back(self, active, first):
        nonce = self.wait_followed(active, first)
        self.wait_share(active, ROLLBACK)
        self.say("rollback: handover to 1.0.0, which has followed all the time")
        self.hand_over("rollback", active, first, nonce)
        self.steps[-1]["orders_of_new_version"] = self.steps[-1]["seq"] - self.steps[0]["seq"]
        if active.wait("the rollback") != 0:
            raise Failed(f"rollback: {active.program} ended with {active.child.returncode}: see {active.log}")

    def restart(self, active):
        """No standby: the next one starts from the files when the old one is gone."""
        self.wait_share(active, SIGTERM)
        self.say("SIGTERM, and 1.1.0 starts from the files")
        began_ns = time.monotonic_ns()
        active.terminate()
        gone_ns = time.monotonic_ns()
        engine = self.cold(NEW, "a", self.sockets)
        self.note("restart", version(OLD), version(NEW), "done", began_ns, engine.ready_ns,
                  drain_ms=round((gone_ns - began_ns) / 1e6, 3), seq=engine.ready["seq"],
                  hydrate_ms=round((engine.ready_ns - engine.started_ns) / 1e6, 3), epoch=engine.status()["epoch"])
        return engine

    def perform(self):
        first = self.instance(OLD, "a", None, "--after-handover", "standby")
        self.wait_for(first, "the first start", lambda status: status["phase"] == "running")
        self.load = self.start_load(self.sockets, "load")
        second = self.upgrade(first)
        self.refused_upgrade(second)
        self.roll_back(second, first)
        last = self.restart(first)
        summary = self.finish_load(self.load, "load")
        last.terminate()
        return summary

    def uninterrupted(self):
        self.say(f"the same input on {OLD}, uninterrupted, for comparison")
        sockets = self.sockets / "plain"
        sockets.mkdir()
        engine = self.cold(OLD, "plain", sockets)
        self.finish_load(self.start_load(sockets, "plain"), "plain")
        engine.terminate()

    # ---- the judge ----

    def one_writer(self):
        """What `baton journal verify` says of the two directories."""
        verified = subprocess.run([self.bin / "baton", "journal", "verify", self.work / "b", self.work / "a"],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        (self.work / "verify.log").write_text(verified.stdout)
        return verified.returncode == 0

    def run(self):
        load = self.perform()
        self.uninterrupted()
        self.say("comparing journals, states, effects")
        acks = judge.read_acks(self.work / "load.acks")
        journaled = judge.journaled_commands(self.bin / "baton", self.work / "a" / "journal")
        lost, doubled = judge.judge(acks, journaled)
        replayed = {run: judge.replay(self.bin / NEW, self.work / run, self.work / f"{run}.effects")
                    for run in ("a", "plain")}
        return {"load": load, "steps": self.steps, "acks": acks, "lost": lost + load["unacked"],
                "doubled": doubled + load["conflicts"], "reordered": judge.reordered(journaled),
                "ours": replayed["a"], "plain": replayed["plain"], "one_writer": self.one_writer(),
                "effects_equal": judge.same_effects(self.work / "a.effects", self.work / "plain.effects")}
