"""What scripts/demo runs after the build; see there for the options."""
import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

import flow
import judge
from processes import Engine, Failed, Processes, run_rig

OLD, NEW = "matching-engine-1.0.0", "matching-engine-1.1.0"
QUICK = {"orders": 60000, "rate": 10000, "messages": 20000}
FULL = {"orders": 300000, "rate": 15000, "messages": 0}
DATA_SECONDS = {True: 6, False: 25}  # how long recorded flow takes, quick or not


def parse(arguments):
    parser = argparse.ArgumentParser(prog="scripts/demo", add_help=False)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data")
    parser.add_argument("--json")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--io", choices=["auto", "uring", "threads"], default="auto")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


class Demo:
    def __init__(self, options, work, sockets, processes):
        self.options = options
        self.work = pathlib.Path(work)
        self.sockets = pathlib.Path(sockets)
        self.processes = processes
        self.bin = pathlib.Path(options.bin)
        self.random = random.Random(options.seed)
        self.live = sys.stderr.isatty()
        size = QUICK if options.quick else FULL
        self.load_options = (flow.recorded(options.data, DATA_SECONDS[options.quick],
                                           QUICK["messages"] if options.quick else 0) if options.data else
                             ["--orders", size["orders"], "--rate", size["rate"], "--seed", options.seed])

    def say(self, text):
        if self.live:
            print(text, file=sys.stderr, flush=True)

    def engine(self, version, run):
        sockets = self.sockets / run
        sockets.mkdir(exist_ok=True)
        return Engine(self.processes, self.bin / version, self.work / run, sockets, self.work / f"{run}.log",
                      ["--io", self.options.io, "--ticks", "client"])

    def load(self, engine, run):
        return self.processes.start(
            [self.bin / "exchange-load", "--connect", engine.listen, "--virtual-time", *self.load_options,
             "--acks-out", self.work / f"{run}.acks", "--json", self.work / f"{run}.json"],
            stdout=subprocess.DEVNULL, stderr=sys.stderr.buffer if self.live else self.work / f"{run}.load.log")

    def finish_load(self, load, run):
        if load.wait() != 0:
            raise Failed(f"run the load: it ended with {load.returncode}: see {self.work}/{run}.json and .log")
        return json.loads((self.work / f"{run}.json").read_text())

    def handed_over(self):
        """Load, SIGTERM at a random moment, the newer version takes over, the load goes on by itself."""
        self.say(f"seed {self.options.seed}: load on {OLD}")
        engine = self.engine(OLD, "handed-over")
        load = self.load(engine, "handed-over")
        cut_at = self.random.uniform(0.25, 0.65)
        commands = self.expected_commands()
        while load.poll() is None and engine.seq() < cut_at * commands:
            time.sleep(0.005)
        asked_ns, gone_ns = engine.terminate()
        self.say(f"\nSIGTERM after {cut_at:.0%}; drained; {NEW} takes over")
        engine = self.engine(NEW, "handed-over")
        summary = self.finish_load(load, "handed-over")
        engine.terminate()
        return summary, {"sigterm_ns": asked_ns, "drain_ms": (gone_ns - asked_ns) / 1e6,
                         "hydrate_ms": (engine.ready_ns - engine.started_ns) / 1e6, "ready": engine.ready}

    def expected_commands(self):
        """About how many: only the moment of SIGTERM depends on it."""
        if not self.options.data:
            return QUICK["orders"] if self.options.quick else FULL["orders"]
        limit = QUICK["messages"] if self.options.quick else 90000
        return int(0.9 * limit)

    def uninterrupted(self):
        self.say(f"the same input on {OLD}, uninterrupted, for comparison")
        engine = self.engine(OLD, "uninterrupted")
        load = self.load(engine, "uninterrupted")
        self.finish_load(load, "uninterrupted")
        engine.terminate()

    def run(self):
        load, times = self.handed_over()
        self.uninterrupted()
        self.say("comparing journals, states, effects")
        acks = judge.read_acks(self.work / "handed-over.acks")
        journaled = judge.journaled_commands(self.bin / "baton", self.work / "handed-over" / "journal")
        lost, doubled = judge.judge(acks, journaled)
        runs = {run: judge.replay(self.bin / NEW, self.work / run, self.work / f"{run}.effects")
                for run in ("handed-over", "uninterrupted")}
        return self.summary(load, times, acks, lost + load["unacked"], doubled + load["conflicts"], runs)

    def summary(self, load, times, acks, lost, doubled, runs):
        handed, plain = runs["handed-over"], runs["uninterrupted"]
        result = {
            "seed": self.options.seed, "flow": str(self.options.data or "generator"), "io": self.options.io,
            "orders_sent": load["sent"], "orders_acked": load["acked"], "lost": lost, "doubled": doubled,
            "fills": load["fills"], "resent": load["resent"],
            "drain_ms": round(times["drain_ms"], 3), "hydrate_ms": round(times["hydrate_ms"], 3),
            "gap_ms": load["gap_ms"],
            "state_digest": handed["state_digest"], "state_digest_uninterrupted": plain["state_digest"],
            "effect_digest": handed["effect_digest"], "effect_digest_uninterrupted": plain["effect_digest"],
            "effects_equal": judge.same_effects(self.work / "handed-over.effects",
                                                self.work / "uninterrupted.effects"),
        }
        result["digests_equal"] = (handed["state_digest"] == plain["state_digest"]
                                   and handed["effect_digest"] == plain["effect_digest"])
        result.update(latencies(acks, times["sigterm_ns"]))
        return result


def quantile(values, fraction):
    """The smallest value that at least this fraction of all are not above; milliseconds."""
    if not values:
        return None
    return round(values[max(0, -(-int(fraction * 1000) * len(values) // 1000) - 1)] / 1e6, 3)


def latencies(acks, sigterm_ns):
    """By when an order was due: before SIGTERM, until the new version's first ack, and after that."""
    first_of_new = min((row["acked_ns"] for row in acks if row["connection"] >= 2), default=sigterm_ns)
    phases = {"before": [], "during": [], "after": []}
    for row in acks:
        if not row["acked_ns"]:
            continue
        phase = ("before" if row["acked_ns"] < sigterm_ns else
                 "during" if row["intended_ns"] < first_of_new else "after")
        phases[phase].append(row["acked_ns"] - row["intended_ns"])
    named = {}
    for phase, values in phases.items():
        values.sort()
        named[phase] = {"orders": len(values), "p50": quantile(values, 0.5), "p99": quantile(values, 0.99),
                        "p99.9": quantile(values, 0.999), "unit": "ms"}
    return {"latency": named,
            **{f"{metric}_{phase}_ms": named[phase][metric] for phase in phases for metric in ("p50", "p99", "p99.9")}}


def is_good(result):
    return (result["lost"] == 0 and result["doubled"] == 0 and result["digests_equal"]
            and result["effects_equal"] and result["orders_acked"] == result["orders_sent"])


def print_summary(result):
    def milliseconds(value):
        return "-" if value is None else f"{value:.2f}"

    def equal(same):
        return "equal" if same else "DIFFERENT"
    print(f"""
Handover from {OLD} to {NEW} under load (seed {result['seed']}, {result['flow']})

  orders sent      {result['orders_sent']:>10,}
         acked     {result['orders_acked']:>10,}
         lost      {result['lost']:>10,}
         doubled   {result['doubled']:>10,}

  drain            {result['drain_ms']:>10.1f} ms   SIGTERM to the old process gone
  hydrate          {result['hydrate_ms']:>10.1f} ms   the new process started to ready
  gap              {result['gap_ms']:>10.1f} ms   last ack of the old to first ack of the new

  latency, ms      {'p50':>10} {'p99':>10} {'p99.9':>10}   from the moment an order was due""")
    for phase, when in (("before", "before SIGTERM"), ("during", "due until the new one's first ack"),
                        ("after", "after it")):
        values = result["latency"][phase]
        print(f"    {phase:<15}" + "".join(f"{milliseconds(values[m]):>10} " for m in ("p50", "p99", "p99.9"))
              + f"  {values['orders']:,} orders {when}")
    print(f"""
  state digest     {result['state_digest']}   {equal(result['state_digest'] == result['state_digest_uninterrupted'])} to the uninterrupted run
  effect digest    {result['effect_digest']}   {equal(result['effect_digest'] == result['effect_digest_uninterrupted'])}
  every effect     {equal(result['effects_equal'])}

  {'Nothing was lost, nothing doubled.' if is_good(result) else 'FAILED: see above.'}""")


def write_json(result, path):
    text = json.dumps(result) + "\n"
    if path == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        pathlib.Path(path).write_text(text)


def run(options):
    root = pathlib.Path(options.work) if options.work else pathlib.Path(options.bin).parent / "demo"
    root.mkdir(parents=True, exist_ok=True)
    keep = options.keep
    work = tempfile.mkdtemp(prefix="demo-", dir=root)
    sockets = tempfile.mkdtemp(prefix="baton-demo-", dir="/tmp")  # a socket's path is short
    try:
        with Processes() as processes:
            result = Demo(options, work, sockets, processes).run()
        if options.json:
            write_json(result, options.json)
        if options.json != "-":
            print_summary(result)
        keep = keep or not is_good(result)
        return 0 if is_good(result) else 1
    except (Failed, OSError, subprocess.SubprocessError, ValueError, KeyError):
        keep = True
        raise
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
        if keep:
            print(f"files kept in {work}", file=sys.stderr)
        else:
            shutil.rmtree(work, ignore_errors=True)


def main(arguments):
    options = parse(arguments)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1, 1 << 31)
    return run_rig("run the demo", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
