"""What `scripts/campaign rto` runs after the build: see there for the options.

A round: the matching engine takes in commands, says how long a start would take, and is killed at once; then the next
one is started, and the time from its process to its readiness is what the other had predicted, or not."""
import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import flow
from processes import Engine, Failed, Processes, run_rig

PROGRAM = "matching-engine-1.1.0"
BAR = 0.25
OWN_LOAD = 2  # the engine and its client


class Rto:
    def __init__(self, options, work, sockets, processes):
        self.options = options
        self.work = pathlib.Path(work)
        self.sockets = sockets
        self.processes = processes
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


def execute(options):
    root = pathlib.Path(options.work) if options.work else pathlib.Path(options.bin).parent / "campaign"
    root.mkdir(parents=True, exist_ok=True)
    keep = True
    work = tempfile.mkdtemp(prefix="rto-", dir=root)
    sockets = tempfile.mkdtemp(prefix="baton-rto-", dir="/tmp")  # a socket's path is short
    try:
        print(f"seed {options.seed}", file=sys.stderr)
        with Processes() as processes:
            rows = Rto(options, work, sockets, processes).execute(tell)
        found = judge(rows)
        if options.json:
            with sys.stdout if options.json == "-" else open(options.json, "w") as file:
                file.write(json.dumps({"campaign": "rto", "seed": options.seed, **found, "rows": rows}) + "\n")
        if found["measured"]:
            print(f"predicted/actual: median {found['median_ratio']:.2f}, {found['least']:.2f} to {found['most']:.2f}; "
                  f"{found['within_bar']} of {found['measured']} rounds within {BAR:.0%}", file=sys.stderr)
            if not found["conclusive"]:
                print(f"inconclusive: other work kept the CPUs busy (load {found['machine_load']:.1f} on "
                      f"{os.cpu_count()}), and no start is like the one before", file=sys.stderr)
        keep = not found["good"]
        return 0 if found["good"] else 1
    except SystemExit:
        keep = False
        raise
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
        if keep or options.keep:
            print(f"files kept in {work}", file=sys.stderr)
        else:
            shutil.rmtree(work, ignore_errors=True)


def parse(arguments):
    parser = argparse.ArgumentParser(prog="scripts/campaign rto", add_help=False, allow_abbrev=False)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--io", choices=["auto", "uring", "threads"], default="auto")
    parser.add_argument("--data")
    parser.add_argument("--entries", type=int, default=1000000)
    parser.add_argument("--rate", type=int, default=100000)
    parser.add_argument("--target", default="3s")
    parser.add_argument("--json")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--verbose", action="store_true")  # every start is told anyway
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if min(options.rounds, options.entries, options.rate) < 1:
        parser.error("--rounds, --entries and --rate begin at 1")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1, 1 << 31)
    return options


def main(arguments):
    options = parse(arguments)
    return run_rig("run the campaign", lambda: execute(options))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
