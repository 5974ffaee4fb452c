"""What scripts/demo says at its end: one object for machines, a page for people."""
import bisect
import textwrap

SECOND_NS = 1_000_000_000
OUTCOMES = ["done", "refused", *["done"] * 6]
DONE = 0
PHASES = ("before", "during", "after")


def quantile(values, fraction):
    """The smallest value that at least this fraction of all are not above; milliseconds."""
    if not values:
        return None
    return round(values[max(0, -(-int(fraction * 1000) * len(values) // 1000) - 1)] / 1e6, 3)


def gap_ms(acked_ns, began_ns, ended_ns):
    """The longest time without any ack that began before a step had ended, and ended after it had begun."""
    first = max(bisect.bisect_right(acked_ns, began_ns) - 1, 0)
    last = min(bisect.bisect_left(acked_ns, ended_ns) + 1, len(acked_ns))
    times = acked_ns[first:last]
    return round(max((b - a for a, b in zip(times, times[1:])), default=0) / 1e6, 3)


def waited(acks, begin_ns, end_ns):
    """Sorted, of the orders that were due then."""
    return sorted(row["acked_ns"] - row["intended_ns"] for row in acks
                  if row["acked_ns"] and begin_ns <= row["intended_ns"] < end_ns)


def latencies(acks, acked_ns, steps):
    """Of the orders that were due before the first step; during one, up to the first ack after it; at other times."""
    during = []
    for step in steps:
        after = bisect.bisect_right(acked_ns, step["ended_ns"])
        during.append((step["began_ns"], acked_ns[after] if after < len(acked_ns) else step["ended_ns"]))
    phases = {phase: [] for phase in PHASES}
    for row in acks:
        due_ns = row["intended_ns"]
        phase = ("before" if due_ns < during[0][0] else
                 "during" if any(begin <= due_ns < end for begin, end in during) else "after")
        if row["acked_ns"]:
            phases[phase].append(row["acked_ns"] - due_ns)
    named = {}
    for phase, values in phases.items():
        values.sort()
        named[phase] = {"orders": len(values), "p50": quantile(values, 0.5), "p99": quantile(values, 0.99),
                        "p99.9": quantile(values, 0.999), "unit": "ms"}
    return {"latency": named,
            **{f"{metric}_{phase}_ms": named[phase][metric] for phase in PHASES for metric in ("p50", "p99", "p99.9")}}


def describe_steps(acks, acked_ns, steps):
    """Each with what the clients saw of it."""
    described = []
    for step in steps:
        began_ns, ended_ns = step["began_ns"], step["ended_ns"]
        told = {key: value for key, value in step.items() if not key.endswith("_ns")}
        told["gap_ms"] = gap_ms(acked_ns, began_ns, ended_ns)
        told["p99_before_ms"] = quantile(waited(acks, began_ns - SECOND_NS, began_ns), 0.99)
        told["p99_around_ms"] = quantile(waited(acks, began_ns, began_ns + SECOND_NS), 0.99)
        described.append(told)
    return described


def all_equal(digests):
    return all(of[what] == of[f"{what}_uninterrupted"] for of in digests.values() for what in ("state", "effect"))


def summarize(found, options):
    load, acks, digests, wrong = found["load"], found["acks"], found["digests"], found["wrong"]
    # Some refusals need one service only: who gets no more than those is without an exchange.
    acked_ns = sorted(row["acked_ns"] for row in acks if row["acked_ns"] and row["outcome"] == DONE)
    steps = describe_steps(acks, acked_ns, found["steps"])
    engine = digests["matching-engine"]
    result = {
        "seed": options.seed, "flow": str(options.data or "generator"), "io": options.io,
        "orders_sent": load["sent"], "orders_acked": load["acked"], "lost": found["lost"],
        "doubled": found["doubled"], "reordered": found["reordered"],
        "fills": load["fills"], "resent": load["resent"], "connections": load["connections"],
        **{name: found[name] for name in ("trades", "entries", "messages", "packets_lost", "gaps_asked")},
        "drain_ms": steps[-1]["drain_ms"], "hydrate_ms": steps[-1]["hydrate_ms"], "gap_ms": steps[-1]["gap_ms"],
        "steps": steps, "one_writer": wrong["journals"] is None, "effects_equal": wrong["links"] is None,
        "wrong": {name: what for name, what in wrong.items() if what},
        **{f"{what}_digest{suffix}": engine[f"{what}{suffix}"]
           for what in ("state", "effect") for suffix in ("", "_uninterrupted")},
        "digests": digests, "digests_equal": all_equal(digests),
        **latencies(acks, acked_ns, found["steps"]),
    }
    result["good"] = is_good(result)
    return result


def is_good(result):
    return (result["lost"] == result["doubled"] == result["reordered"] == 0 and result["digests_equal"]
            and not result["wrong"] and result["orders_acked"] == result["orders_sent"]
            and [step["outcome"] for step in result["steps"]] == OUTCOMES)


TITLES = {
    "upgrade": "{service} {from} -> {to}, hot", "refused upgrade": "{service} {from} -> {to}, hot",
    "replacement": "{service}, a fresh instance, hot", "kill": "kill -9 {service}",
    "cut": "consistent cut of {service}",
    "rollback": "{service} {from} -> {to}, hot", "restart": "SIGTERM to all three; cold, {to}"}
MEANINGS = {
    "upgrade": "both had the same digests at entry {seq:,}; {to} serves from the next one on",
    "refused upgrade": "{from} serves on. {to} has a mistake planted: it decides by the clock: {why}",
    "replacement": "a standby until entry {seq:,}; its {connections_passed} connections were passed to it",
    "kill": "started again; ready {ready_ms:.0f} ms after the kill",
    "cut": "by one barrier: order service at entry {entries[order-service]:,}, risk engine {entries[risk-engine]:,}, matching "
           "engine {entries[matching-engine]:,}; {cut_ms:.0f} ms",
    "rollback": "{to} had followed all the time, and has the {orders_of_new_version:,} commands that {from} took",
    "restart": "nobody stood by: drains {drain_ms:.0f} ms, starts from the files {hydrate_ms:.0f} ms",
}
# What was looked at, and what is the case when none of its parts is wrong.
ENDINGS = (("acks", ("clients", "acks"), "each command has one answer, and it is what the journals say"),
           ("links", ("links",), "each effect of a service stands once in the journals of those it is for"),
           ("money", ("orders", "money"), "open orders agree in all services; balances reconcile to the unit"),
           ("settlement", ("settlement",), "each of {trades:,} trades is in SQLite, once"),
           ("market data", ("market data",), "{messages:,} messages, no gap ({packets_lost:,} packets lost on purpose)"),
           ("cut", ("cut",), "its three states are what the journals come to at the barrier"),
           ("journals", ("journals",), "one writer for each entry, unbroken chains"))


def milliseconds(value):
    return "-" if value is None else f"{value:.2f}"


def steps_text(steps):
    lines = [f"  {'':<44}{'':<8}{'no ack for':>11}   {'p99 before':>10} {'and then':>9}"]
    for number, step in enumerate(steps, 1):
        title = f"{number}  {TITLES[step['step']].format(**step)}"
        lines.append(f"  {title:<44}{step['outcome']:<8}{step['gap_ms']:>8.1f} ms   "
                     f"{milliseconds(step['p99_before_ms']):>10} {milliseconds(step['p99_around_ms']):>9}")
        for line in MEANINGS[step["step"]].format(**step).splitlines():
            lines += textwrap.wrap(line, 110, initial_indent="     ", subsequent_indent="     ")
    return "\n".join(lines)


def latency_text(latency):
    lines = [f"  latency, ms      {'p50':>10} {'p99':>10} {'p99.9':>10}   from the moment an order was due to its ack"]
    for phase, when in (("before", "due before step 1"), ("during", "due during a step"),
                        ("after", "due between the steps, and after")):
        values = latency[phase]
        lines.append(f"    {phase:<15}" + "".join(f"{milliseconds(values[m]):>10} " for m in ("p50", "p99", "p99.9"))
                     + f"  {values['orders']:,} orders {when}")
    return "\n".join(lines)


def judged_text(result):
    lines = []
    for name, parts, meaning in ENDINGS:
        wrong = [result["wrong"][part] for part in parts if part in result["wrong"]]
        lines.append(f"  {name:<16} {'WRONG: ' + '; '.join(wrong) if wrong else meaning.format(**result)}")
    equal = "equal: what each service came to is what its entries come to when nobody disturbs"
    lines.append(f"  {'digests':<16} {equal if result['digests_equal'] else 'DIFFERENT'}")
    return "\n".join(lines)


def orders_text(result):
    counts = ("orders_sent", "orders_acked", "lost", "doubled", "reordered")
    return "  orders           " + "   ".join(f"{name.removeprefix('orders_')} {result[name]:,}" for name in counts)


def text(result):
    return f"""
The whole exchange under load, {len(result['steps'])} changes of its processes (seed {result['seed']}, {result['flow']})

{steps_text(result['steps'])}

  no ack for: the longest time in which no client got one for what took effect, around the step
  p99, in ms: of the orders due in the second before the step, and in the second from then on

{latency_text(result['latency'])}

{orders_text(result)}
{judged_text(result)}

  {'Nothing was lost, nothing doubled, nothing reordered.' if result['good'] else 'FAILED: see above.'}"""
