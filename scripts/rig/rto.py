"""What `scripts/campaign rto` runs after the build: see there for the options.

A round: the matching engine takes in commands, says how long a start would take, and is killed at once; then the next
one is started, and the time from its process to its readiness is what the other had predicted, or not."""
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time

import flow
from campaign import EngineCampaign
from processes import Engine, Failed

PROGRAM = "matching-engine-1.1.0"
BAR = 0.25
OWN_LOAD = 2  # the engine and its client


class Rto:
    def __init__(self, options, work, sockets, processes):
        self.options, self.work, self.sockets, self.processes = options, work, sockets, processes
        self.bin = pathlib.Path(options.bin)
        self.random = random.Random(options.seed)

    def engine(self):
        return Engine(self.processes, self.bin / PROGRAM, self.work / "data", self.sockets, self.work / "log",
                      ["--ticks", "client", "--orders-max", 2000000, "--clients-max", 65536, "--io", self.options.io,
                       "--rto-target", self.options.target])

    def load(self, engine):
        options = self.options
        commands = options.entries * (options.rounds + 1)
        flow_options = (flow.recorded(options.data, commands / options.rate) if options.data else
                        ["--orders", commands, "--rate", options.rate, "--clients", 1000, "--seed", options.seed])
        return self.processes.start([self.bin / "exchange-load", "--connect", engine.listen, "--virtual-time",
                                     *flow_options], stdout=subprocess.DEVNULL, stderr=self.work / "load.log")

    def wait_for(self, engine, load, seq):
        while engine.seq() < seq:
            if load.poll() is not None and engine.seq() < seq:
                raise Failed(f"run the load: it ended with {load.returncode}: see {self.work}/load.log")
            time.sleep(0.02)

    def execute(self, report):
        rows = []
        engine = self.engine()
        load = self.load(engine)
        seq = 0
        for number in range(1, self.options.rounds + 1):
            seq += int(self.options.entries * self.random.uniform(0.5, 1))
            self.wait_for(engine, load, seq)
            status = engine.status()
            predicted = status["rto"]
            taken = engine.status()["snapshot"]["taken"]
            engine.kill()
            if number == self.options.rounds:
                load.kill()  # the last start is watched, too, but nothing more is sent
            engine = self.engine()
            actual_ms = (engine.ready_ns - engine.started_ns) / 1e6
            hydrate = engine.ready["hydrate"]
            row = {"round": number, "predicted_ms": predicted["predicted_ms"], "actual_ms": actual_ms,
                   "ratio": predicted["predicted_ms"] / actual_ms,
                   "measured": predicted["read_rate"] == "measured", "parts": predicted["parts"],
                   "actual_parts": {name: hydrate[name] for name in ("recover_ms", "load_ms", "replay_ms", "total_ms")},
                   "types": predicted["types"], "snapshots": taken, "from_snapshot": hydrate["from_snapshot"],
                   "replayed": hydrate["replayed_entries"], "tail_entries": predicted["tail_entries"],
                   "durable_seq": status["durable_seq"],
                   "machine_load": os.getloadavg()[0]}
            rows.append(row)
            report(row)
        engine.terminate()
        return rows


def tell(row):
    parts, took = row["parts"], row["actual_parts"]
    print(f"round {row['round']}: predicted {row['predicted_ms']:.0f} ms, took {row['actual_ms']:.0f} ms, ratio "
          f"{row['ratio']:.2f}{'' if row['measured'] else ' (rates not measured yet)'}; {row['replayed']} entries"
          f"{' and a snapshot' if row['from_snapshot'] else ''}; predicted: fixed {parts['fixed_ms']:.0f}, recover "
          f"{parts['recover_ms']:.0f}, load {parts['load_ms']:.0f}, replay {parts['read_ms'] + parts['apply_ms']:.0f}; "
          f"took: recover {took['recover_ms']:.0f}, load {took['load_ms']:.0f}, replay {took['replay_ms']:.0f}",
          file=sys.stderr, flush=True)


def judge(rows):
    """The median of the rounds whose rates a start had measured; one start alone may meet a busy machine."""
    ratios = [row["ratio"] for row in rows if row["measured"]]
    if not ratios:
        return {"rounds": len(rows), "measured": 0, "conclusive": False, "good": False}
    within = sum(abs(ratio - 1) <= BAR for ratio in ratios)
    median = statistics.median(ratios)
    busy = statistics.median(row["machine_load"] for row in rows)
    return {"rounds": len(rows), "measured": len(ratios), "within_bar": within, "median_ratio": median,
            "least": min(ratios), "most": max(ratios), "bar": BAR, "machine_load": busy,
            "conclusive": busy <= os.cpu_count() + OWN_LOAD, "good": abs(median - 1) <= BAR}


class RtoCampaign(EngineCampaign):
    name = "rto"
    rounds_default = 8
    own_options = {"--io": ["auto", "uring", "threads"], "--data": None, "--entries": 1000000, "--rate": 100000,
                   "--target": "3s"}

    def play(self, processes):
        self.say(f"seed {self.options.seed}")
        rows = Rto(self.options, self.work, self.sockets, processes).execute(tell)
        found = judge(rows)
        self.write_result({**found, "rows": rows})
        if found["measured"]:
            self.say(f"predicted/actual: median {found['median_ratio']:.2f}, {found['least']:.2f} to "
                     f"{found['most']:.2f}; {found['within_bar']} of {found['measured']} rounds within {BAR:.0%}")
            if not found["conclusive"]:
                self.say(f"inconclusive: other work kept the CPUs busy (load {found['machine_load']:.1f} on "
                         f"{os.cpu_count()}), and no start is like the one before")
        self.keep = not found["good"]
        return 0 if found["good"] else 1


if __name__ == "__main__":
    sys.exit(RtoCampaign.main(sys.argv[1:]))
