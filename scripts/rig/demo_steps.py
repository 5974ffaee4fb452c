"""What scripts/demo performs: the whole exchange under load, and what becomes of its services meanwhile."""
import json
import random
import re
import subprocess
import sys
import time

import flow
import judge
from exchange import STATEFUL, Exchange
from exchange_judge import NAMES, ORDER_SERVICE, Verdict, Wrong, ask_all, judge_summaries, require
from market import Listener
from processes import Failed

OLD, NEW, BAD = "matching-engine-1.0.0", "matching-engine-1.1.0", "matching-engine-1.2.0"
MATCHING = "matching-engine"
QUICK = {"rate": 2000, "pace": 0.7, "messages": 40000}
FULL = {"rate": 2500, "pace": 4, "messages": 0}
LOAD_S = 300  # so much is made beforehand; the load is ended when the steps are done
DATA_SECONDS = {True: 22, False: 60}  # how long recorded flow takes, quick or not
ENTRIES_OF_ORDER = 1.8  # in the journal of the order service, about: only the moments of the steps depend on it
ORDERS_TO_DIFFER = 1500  # 1.2.0 decides by the clock about once in 64
CLIENTS = 64
CONNECTIONS = 8
RICH, POOR = {1: 10**9, 2: 10**15}, {1: 40, 2: 10**8}  # the poor have some orders refused
PACKETS_LOST = 0.02  # of the market data, on purpose
DIFFERENCE = re.compile(r"^baton: [^:]+: (entries \d+ to \d+: .*? digest is \w+ now, it was \w+)", re.MULTILINE)
BUDGET_S = 60
# The writer's checkpoints would find 1.2.0 out before anyone asks for a handover: here the handover may do it.
ENGINE_OPTIONS = ["--checkpoint-every", 100000000]


def version(program):
    return program.rpartition("-")[2]


def name_of(service):
    return service.replace("-", " ")


class Demo:
    def __init__(self, options, work, processes):
        self.options, self.work, self.processes = options, work, processes
        self.random = random.Random(options.seed)
        self.steps, self.marks = [], work / "marks"
        size = QUICK if options.quick else FULL
        self.rate, self.pace = options.rate or size["rate"], options.pace or size["pace"]
        self.flow = (flow.recorded(options.data, DATA_SECONDS[options.quick], size["messages"]) if options.data else
                     ["--orders", int(self.rate * LOAD_S), "--rate", self.rate])
        self.exchange = Exchange(processes, options.bin, work, io=options.io, programs={MATCHING: OLD},
                                 options={MATCHING: ENGINE_OPTIONS})

    @staticmethod
    def say(text):
        print(("\r\x1b[K" if sys.stderr.isatty() else "") + text, file=sys.stderr, flush=True)

    def begin(self, text, mark):
        """The moment of a step: said, and marked in the timeline, in a word."""
        number = len(self.steps) + 1
        self.say(f"{number}  {text}")
        with open(self.marks, "a") as marks:
            marks.write(f"{number} {mark}\n")
        return time.monotonic_ns()

    # ---- the load ----

    def pay_in(self):
        """Recorded flow has two clients more; nobody in it is refused anything."""
        self.exchange.deposit({client: POOR if client % 8 == 0 and not self.options.data else RICH
                               for client in range(1, CLIENTS + 3)})

    def start_load(self):
        self.marks.touch()
        timeline = ["--timeline-svg", self.options.timeline, "--mark-file", self.marks] if self.options.timeline else []
        return self.exchange.load("load", [*self.flow, "--clients", CLIENTS, "--connections", CONNECTIONS, "--resend", 5,
                                           "--seed", self.options.seed, *timeline],
                                  progress=sys.stderr.buffer if sys.stderr.isatty() else None)

    def entries(self):
        return self.exchange.service("order-service").status()["seq"]

    def wait_orders(self, count, over=lambda: False):
        """About so many more, or the load is over, or what is asked for."""
        until = self.entries() + count * ENTRIES_OF_ORDER
        end = time.monotonic() + BUDGET_S
        while self.load.running() and self.entries() < until and not over():
            if time.monotonic() > end:
                raise Failed(f"wait for orders: not {count:.0f} within {BUDGET_S} s: see the logs in {self.work}")
            time.sleep(0.005)

    def wait_moment(self):
        """Between two steps: somewhere, by the seed."""
        self.wait_orders(self.rate * self.pace * self.random.uniform(0.6, 1.4))

    # ---- the steps ----

    def note(self, name, service, old, new, outcome, began_ns, ended_ns, **more):
        self.steps.append({"step": name, "service": service, "from": old, "to": new, "outcome": outcome,
                           "began_ns": began_ns, "ended_ns": ended_ns, "under_load": self.load.running(), **more})

    def hand_over(self, name, text, mark, service, standby, stays=False):
        """As `baton service handover` does; the standby is level."""
        active = self.exchange.service(service)
        old, new = (one.status()["instance"]["version"] for one in (active, standby))
        began_ns = self.begin(text, mark)
        told = self.exchange.cut_over(service, standby, stays=stays)
        self.note(name, service, old, new, "done", began_ns, time.monotonic_ns(), handover_ms=told["gap_ms"], seq=told["seq"],
                  connections_passed=told["connections"]["passed"], epoch=standby.status()["epoch"])

    def upgrade(self):
        """The old one becomes the new one's standby."""
        self.say("   matching engine 1.1.0 follows 1.0.0")
        first, second = self.exchange.service(MATCHING), self.exchange.standby(MATCHING, NEW)
        self.wait_moment()
        self.hand_over("upgrade", "matching engine: handover to 1.1.0", "1.1.0", MATCHING, second, stays=True)
        return first, second

    def refusal(self, active, third):
        """By digests: the active's words, which was asked; or the third one's, which compares what each batch and
        checkpoint tells. Another refusal is of a busy machine: it is asked again."""
        end = time.monotonic() + BUDGET_S
        while third.running():
            status = third.ask("status")
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
        self.say("   matching engine 1.2.0, which has a mistake planted, follows 1.1.0")
        if not active.ask("snapshot")["ok"]:
            raise Failed(f"take a snapshot: see {active.log}")
        third = self.exchange.fresh(MATCHING, BAD)
        third.follow(active, wait=False)
        third.wait_for(lambda: DIFFERENCE.search(third.said()) or third.is_level(active), "to be level")
        self.wait_orders(ORDERS_TO_DIFFER, over=lambda: not third.running())
        began_ns = self.begin("matching engine: no handover to 1.2.0", "no 1.2.0")
        why = self.refusal(active, third)
        self.note("refused upgrade", MATCHING, version(active.program), version(BAD), "refused", began_ns, time.monotonic_ns(),
                  why=why)
        self.say(f"   refused: {why}")
        third.kill()

    def replace(self, service):
        self.say(f"   a fresh {name_of(service)} follows the one that serves")
        standby = self.exchange.standby(service)
        self.wait_moment()
        self.hand_over("replacement", f"{name_of(service)}: handover", name_of(service), service, standby)

    def kill(self):
        self.wait_moment()
        service = self.exchange.service(self.random.choice(sorted(self.exchange.services)))
        began_ns = self.begin(f"{name_of(service.name)}: kill -9", "kill -9")
        service.restart()
        ended_ns = time.monotonic_ns()
        self.note("kill", service.name, None, None, "done", began_ns, ended_ns, ready_ms=(ended_ns - began_ns) / 1e6)

    def cut(self):
        """One barrier goes through all three; the states at it are written out of the journals, beside the services."""
        self.wait_moment()
        words = []
        for name in NAMES.values():
            words += ["--", *self.data(name)]
        began_ns = self.begin("a consistent cut of all three", "cut")
        done = subprocess.run([self.options.bin / "exchange-cut", "take", "--orders", self.exchange.address("orders"), "--out",
                               self.work / "cut", "-o", "json", *words[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
        if done.returncode != 0:
            raise Failed(f"take a consistent cut: {done.stderr.strip()}")
        ended_ns = time.monotonic_ns()
        self.note("cut", "all three", None, None, "done", began_ns, ended_ns, cut_ms=(ended_ns - began_ns) / 1e6,
                  entries={part["service"]: part["seq"] for part in json.loads(done.stdout)["services"]})

    def roll_back(self, first, second):
        self.wait_moment()
        first.wait_level(second)
        self.hand_over("rollback", "matching engine: handover back to 1.0.0", "1.0.0", MATCHING, first)
        self.steps[-1]["orders_of_new_version"] = self.steps[-1]["seq"] - self.steps[0]["seq"]

    def restart(self):
        """No standby: the next ones start from the files when the old ones are gone."""
        self.wait_moment()
        services = [self.exchange.service(name) for name in STATEFUL]
        began_ns = self.begin("all three: SIGTERM, and a start from their files", "SIGTERM")
        for service in reversed(services):
            service.terminate()
        gone_ns = time.monotonic_ns()
        services[0].program, services[0].more = NEW, []
        for service in services:
            service.start(wait=False)
        for service in services:
            service.wait_ready()
        ready_ns = time.monotonic_ns()
        status = services[0].status()
        self.note("restart", "all three", version(OLD), version(NEW), "done", began_ns, ready_ns,
                  drain_ms=round((gone_ns - began_ns) / 1e6, 3), hydrate_ms=round((ready_ns - gone_ns) / 1e6, 3),
                  seq=status["seq"], epoch=status["epoch"])

    def perform(self):
        self.say(f"seed {self.options.seed}: gateway, order service, risk engine, matching engine, settlement, market data")
        self.exchange.service(MATCHING).more = ["--after-handover", "standby"]
        self.exchange.start()
        self.pay_in()
        self.load = self.start_load()
        self.wait_moment()
        first, second = self.upgrade()
        self.refused_upgrade(second)
        for service in ("order-service", "risk-engine"):
            self.replace(service)
        self.kill()
        self.cut()
        self.roll_back(first, second)
        self.restart()
        self.wait_moment()
        self.load.stop()

    # ---- the judge ----

    def data(self, name):
        """A service's program, its directory, and the options that its data needs."""
        service = self.exchange.service(name)
        return [self.options.bin / service.program, service.directory, *self.exchange.state_options(name)]

    def look_at_cut(self):
        """Each part is whole, and the state that its service's journal, by now, comes to at that entry."""
        done = subprocess.run([self.options.bin / "exchange-cut", "verify", self.work / "cut", "--load", "-o", "json"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        require(done.returncode == 0, done.stderr.strip())
        for part in json.loads(done.stdout)["services"]:
            program, directory, *more = self.data(part["service"])
            told = subprocess.run([program, "baton", "digest", directory, "--to", str(part["seq"]), "--digest-schema",
                                   str(part["schema"]), *more], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
            require(told == part["state_digest"], f"{part['service']} at entry {part['seq']}: {part['state_digest']} in the "
                                                  f"cut, {told} by its journal")

    def digests(self, name):
        """Of a service's state and effects: as its processes left them, one after another; and of one that nobody
        disturbs, which applies the same entries from the first on."""
        program, directory, *more = self.data(name)
        left = judge.digest(program, directory, more)
        replayed = judge.replay(self.options.bin / OLD if name == MATCHING else program, directory, options=more)
        return {"state": left["state_digest"], "state_uninterrupted": replayed["state_digest"],
                "effect": left["effect_digest"], "effect_uninterrupted": replayed["effect_digest"]}

    @staticmethod
    def wrong(look):
        """What is wrong with it, or None."""
        try:
            look()
        except Wrong as wrong:
            return str(wrong)
        return None

    def judged(self, answers, summary):
        self.say("   comparing journals, states, effects, money, trades, market data")
        verdict = Verdict(self.exchange, [self.load], answers)
        sent = verdict.journals[ORDER_SERVICE].sent()
        lost, doubled = judge.judge(verdict.acks, sent)
        parts = {"clients": lambda: judge_summaries([self.load], [summary]), **verdict.parts(), "cut": self.look_at_cut}
        return {"acks": verdict.acks, "lost": lost + summary["unacked"], "doubled": doubled + summary["conflicts"],
                "reordered": judge.reordered(sent), "wrong": {name: self.wrong(look) for name, look in parts.items()},
                "digests": {name: self.digests(name) for name in NAMES.values()}, **verdict.size()}

    def run(self):
        with self.exchange as exchange:
            with Listener(exchange.group, exchange.path("market"), PACKETS_LOST, self.options.seed) as listener:
                self.perform()
                answers, (summary,) = ask_all(exchange, [self.load], listener)
            exchange.stop()
            return {"load": summary, "steps": self.steps, "packets_lost": listener.lost, "gaps_asked": listener.asked,
                    **self.judged(answers, summary)}
