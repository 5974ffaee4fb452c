"""What `scripts/campaign exchange` runs after the build, and the tests in small: see there for the options.

A run is one exchange of eight processes, two loads before them, and a listener that loses packets of the stream. A round is one
kill under load: SIGKILL of one or two of the services at the same moment, some of them once more in their start; or a handover
of one of them, often while another one is down. When the loads have ended the exchange is judged: what each client was told,
each link, each trade and each unit of money."""
import random
import shutil
import sys
import time

from campaign import BACKENDS, PROBLEMS, Campaign, Rig
from exchange import STATEFUL, Exchange
from exchange_judge import judge_exchange
from exchange_wire import DEPOSIT, WITHDRAW, kill_switch, limit
from market import Listener

CLIENTS = 24  # of each load
RATE = 600  # of each load
ROUND_S = 0.55  # a round takes about so long: the load lasts as long as the rounds, about
PAUSE_S = 0.3  # at most, from a start to the next kill
MOMENT_S = 0.15  # at most, from a start to the kill in it
TWO = 0.4  # of the rounds: two at once
AGAIN = 0.2  # of the restarts: killed once more, in the start
SNAPSHOT = 0.2  # of the rounds: one of the services takes a snapshot before, so that its start begins there
# A standby of a service that has snapshots begins there, and the judge wants each journal from entry 1: so of the runs, so many
# have handovers, and no snapshots; of their rounds, so many are one; of these, in so many somebody else is down meanwhile.
HANDOVERS, HANDOVER, ALONE = 0.4, 0.35, 0.5
RICH, POOR = {1: 10**9, 2: 10**15, 3: 10**9}, {1: 60, 2: 2 * 10**8, 3: 60}  # the poor have some orders refused
POOR_SHARE = 0.2
PAIRS = ("1/2/1", "3/2/1")
OLD, NEW = "matching-engine-1.0.0", "matching-engine-1.1.0"
MIX = "cancel=24,reduce=8,replace=14,ioc=8,market=5,fok=4,post-only=5"


class ExchangeRun:
    """Everything that is random comes from the seed, but what the machine makes of it."""

    def __init__(self, rig, seed, rounds, report):
        self.rig, self.seed, self.rounds, self.report = rig, seed, rounds, report
        self.random = random.Random(seed)
        self.directory = rig.work / f"exchange-{seed}"
        self.found = {"seed": seed, "kills": 0, "under_load": 0, "in_start": 0, "snapshots": 0, "handovers": 0}
        self.hands_over = self.random.random() < HANDOVERS
        self.exchange = None

    def _options(self):
        """The same for all processes of a service."""
        chance = self.random
        stateful = {name: ["--snapshot-every", 0 if self.hands_over else chance.choice((0, 700)), "--checkpoint-every",
                           chance.choice((200, 10000)), "--segment-size", chance.choice(("1MiB", "64MiB")), "--outbox-size",
                           chance.choice(("512KiB", "64MiB"))] for name in STATEFUL}
        # What is under way fits any outbox: else three full ones in a ring could wait for each other.
        stateful["order-service"] += ["--pending-max", chance.choice((100, 400))]
        return {**stateful, "gateway": ["--open-max", chance.choice((200, 65536))]}

    def _lasting(self):
        return {"matching-engine": ["--self-trade", self.random.choice(("allow", "cancel-resting", "cancel-taking"))]}

    def _load(self, number):
        chance = self.random
        orders = max(200, int(RATE * (ROUND_S * self.rounds + PAUSE_S)))
        options = ["--orders", orders, "--rate", RATE, "--clients", CLIENTS, "--first-client", 1 + (number - 1) * CLIENTS,
                   "--seed", self.seed * 2 + number, "--symbols", len(PAIRS), "--mix", MIX, "--connections",
                   chance.choice((1, 3)), "--resend", chance.choice((0, 20)), "--ask-again", 5]
        if chance.random() < 0.3:
            options += ["--storm", 0.6]
        if chance.random() < 0.5:  # it goes to the other gateway when its own is away
            options += ["--connect", self.exchange.address(self.exchange.gateways[2 - number].name)]
        return self.exchange.load(f"load-{number}", options, gateway=number)

    def _start(self, service, wait=True):
        if service.name in STATEFUL:
            service.io = self.random.choice(self.rig.backends)
        service.start(wait)

    def _start_again(self, services):
        """In any order, one after another or both at once; who is killed in his start begins again."""
        self.random.shuffle(services)
        again = [self.random.random() < AGAIN for _ in services]
        for service in services:
            self._start(service, wait=False)
        for service, killed in zip(services, again):
            if killed:
                time.sleep(self.random.uniform(0, MOMENT_S))
                service.kill()
                self.found["in_start"] += 1
                self._start(service, wait=False)
        for service in services:
            service.wait_ready()

    def _kill(self, names):
        services = [self.exchange.service(name) for name in names]
        for service in services:
            service.child.kill()
        for service in services:
            service.child.wait()
        self.found["kills"] += len(services)
        return services

    def _operate(self):
        """Of the operator: money in and out, kill switches and limits, sent and not waited for."""
        exchange, chance = self.exchange, self.random
        for _ in range(chance.randint(1, 12)):
            client, what = chance.randint(1, 2 * CLIENTS), chance.random()
            if what < 0.6:
                exchange.begin_transfer(chance.choice((DEPOSIT, WITHDRAW)), client, chance.choice((1, 2, 3)),
                                        chance.choice((1, 50, 10**6)))
            elif what < 0.8:  # off more often than on: most clients go on
                exchange.operator.take(lambda sender, seq: kill_switch(sender, seq, client, chance.random() < 0.3))
            else:
                exchange.operator.take(lambda sender, seq: limit(sender, seq, client, 0, chance.choice((0, 500)), 0))
        exchange.operator.send()

    def _round_of_handover(self):
        exchange, chance = self.exchange, self.random
        name = chance.choice(STATEFUL)
        alone = chance.random() < ALONE
        others = [] if alone else [chance.choice(sorted(set(exchange.services) - {name}))]
        standby = exchange.standby(name, NEW if name == "matching-engine" else None)
        killed = self._kill(others)
        if killed and chance.random() < 0.5:
            time.sleep(chance.uniform(0, MOMENT_S))
        gap_ms = exchange.cut_over(name, standby)["gap_ms"]
        self._start_again(killed)
        self.found["handovers"] += 1
        self.report(f"seed {self.seed}  handed over {name}{' without ' if others else ''}{''.join(others)}: {gap_ms:.0f} ms")

    def _round(self, loads):
        exchange, chance = self.exchange, self.random
        time.sleep(chance.uniform(0, PAUSE_S))
        self.found["under_load"] += any(load.running() for load in loads)
        self._operate()
        if self.hands_over and chance.random() < HANDOVER:
            self._round_of_handover()
        else:
            self._round_of_kills()
        exchange.finish_transfers()

    def _round_of_kills(self):
        exchange, chance = self.exchange, self.random
        names = chance.sample(sorted(exchange.services), 2 if chance.random() < TWO else 1)
        if not self.hands_over and chance.random() < SNAPSHOT:
            exchange.service(chance.choice(STATEFUL)).ask("snapshot")
            self.found["snapshots"] += 1
        services = self._kill(names)
        began = time.monotonic()
        self._start_again(services)
        self.report(f"seed {self.seed}  killed {' and '.join(names)}: ready in {(time.monotonic() - began) * 1e3:.0f} ms")

    def execute(self):
        rig = self.rig
        with Exchange(rig.processes, rig.bin, self.directory, io=rig.backends[0], gateways=2, pairs=PAIRS,
                      programs={"matching-engine": self.random.choice((OLD, NEW))},
                      options=self._options(), lasting=self._lasting()) as self.exchange:
            for service in self.exchange.services.values():
                self._start(service)
            self.exchange.deposit({client: POOR if self.random.random() < POOR_SHARE else RICH
                                   for client in range(1, 2 * CLIENTS + 1)})
            with Listener(self.exchange.group, self.exchange.path("market"), lose=0.1, seed=self.seed) as listener:
                loads = [self._load(number) for number in (1, 2)]
                for _ in range(self.rounds):
                    self._round(loads)
                self.found.update(judge_exchange(self.exchange, loads, listener), good=True)
                self.found.update(packets_lost=listener.lost, gaps_asked=listener.asked)
        return self.found


class ExchangeCampaign(Campaign):
    name = "exchange"
    rounds_default = 20
    own_options = {"--rounds-per-run": 4, "--io": BACKENDS}
    verdict = "every acked order is there once, every trade settled once, no gap in the stream, every unit accounted for"

    def play(self, processes):
        runs, good = self.run(Rig(self.options, self.work, processes))
        return self.conclude(runs, good)

    def tell(self, found):
        self.say(f"seed {found['seed']}: {found['kills']} kills ({found['in_start']} more in the start), "
                 f"{found['handovers']} handovers, {found['acked']} acked, {found['resent']} resent, {found['trades']} "
                 f"trades, {found['messages']} messages, {found['gaps_asked']} gaps asked for: good  {self.progress()}")

    def run(self, rig):
        """All rounds, in runs; ends at the first wrong one. Returns (runs, is all good)."""
        runs, seed = [], self.options.seed
        while self.rounds < self.options.rounds:
            rounds = min(self.options.rounds_per_run, self.options.rounds - self.rounds)
            run = ExchangeRun(rig, seed, rounds, self.on_round)
            try:
                found = run.execute()
            except PROBLEMS as problem:
                self.say(f"\nbaton: seed {seed}, after round {self.rounds}: {problem}\n"
                         f"repeat it: scripts/campaign exchange --rounds {rounds} --rounds-per-run {rounds} --seed {seed} "
                         f"--io {self.options.io}")
                return runs + [{**run.found, "good": False, "problem": str(problem)}], False
            runs.append(found)
            self.tell(found)
            shutil.rmtree(run.directory)
            seed += 1
        return runs, True


if __name__ == "__main__":
    sys.exit(ExchangeCampaign.main(sys.argv[1:]))
