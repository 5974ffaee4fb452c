"""What scripts/demo says at its end: one object for machines, a page for people."""
import bisect
import textwrap

SECOND_NS = 1_000_000_000


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


def latencies(acks, sigterm_ns, first_of_new_ns):
    """Of the restart: orders acked before SIGTERM, due until the new version's first ack, and due after that."""
    phases = {"before": [], "during": [], "after": []}
    for row in acks:
        if not row["acked_ns"]:
            continue
        phase = ("before" if row["acked_ns"] < sigterm_ns else
                 "during" if row["intended_ns"] < first_of_new_ns else "after")
        phases[phase].append(row["acked_ns"] - row["intended_ns"])
    named = {}
    for phase, values in phases.items():
        values.sort()
        named[phase] = {"orders": len(values), "p50": quantile(values, 0.5), "p99": quantile(values, 0.99),
                        "p99.9": quantile(values, 0.999), "unit": "ms"}
    return {"latency": named,
            **{f"{metric}_{phase}_ms": named[phase][metric] for phase in phases for metric in ("p50", "p99", "p99.9")}}


def describe_steps(found):
    """Each with what the clients saw of it."""
    acks = found["acks"]
    acked_ns = sorted(row["acked_ns"] for row in acks if row["acked_ns"])
    steps = []
    for step in found["steps"]:
        began_ns, ended_ns = step["began_ns"], step["ended_ns"]
        told = {key: value for key, value in step.items() if not key.endswith("_ns")}
        told["gap_ms"] = gap_ms(acked_ns, began_ns, ended_ns)
        told["p99_before_ms"] = quantile(waited(acks, began_ns - SECOND_NS, began_ns), 0.99)
        told["p99_around_ms"] = quantile(waited(acks, began_ns, began_ns + SECOND_NS), 0.99)
        steps.append(told)
    return steps


def summarize(found, options):
    load, ours, plain = found["load"], found["ours"], found["plain"]
    steps = describe_steps(found)
    restart, told = found["steps"][-1], steps[-1]
    acked_ns = sorted(row["acked_ns"] for row in found["acks"] if row["acked_ns"])
    after = bisect.bisect_right(acked_ns, restart["ended_ns"])
    result = {
        "seed": options.seed, "flow": str(options.data or "generator"), "io": options.io,
        "orders_sent": load["sent"], "orders_acked": load["acked"], "lost": found["lost"],
        "doubled": found["doubled"], "reordered": found["reordered"],
        "fills": load["fills"], "resent": load["resent"],
        "drain_ms": told["drain_ms"], "hydrate_ms": told["hydrate_ms"], "gap_ms": told["gap_ms"],
        "steps": steps, "one_writer": found["one_writer"],
        "state_digest": ours["state_digest"], "state_digest_uninterrupted": plain["state_digest"],
        "effect_digest": ours["effect_digest"], "effect_digest_uninterrupted": plain["effect_digest"],
        "effects_equal": found["effects_equal"],
        "digests_equal": (ours["state_digest"], ours["effect_digest"])
                         == (plain["state_digest"], plain["effect_digest"]),
    }
    result.update(latencies(found["acks"], restart["began_ns"],
                            acked_ns[after] if after < len(acked_ns) else restart["ended_ns"]))
    result["good"] = is_good(result)
    return result


def is_good(result):
    return (result["lost"] == result["doubled"] == result["reordered"] == 0 and result["digests_equal"]
            and result["effects_equal"] and result["one_writer"] and result["orders_acked"] == result["orders_sent"]
            and [step["outcome"] for step in result["steps"]] == ["done", "refused", "done", "done"])


TITLES = {"upgrade": "hot upgrade {from} -> {to}", "refused upgrade": "hot upgrade {from} -> {to}",
          "rollback": "rollback {from} -> {to}, hot", "restart": "SIGTERM; {to} starts from the files"}
MEANINGS = {
    "upgrade": "both had the same digests at entry {seq:,}; {to} serves from the next one on",
    "refused upgrade": "{from} serves on: {why}\n({to} has a mistake planted: it decides by the clock)",
    "rollback": "{to} had followed all the time, and has the {orders_of_new_version:,} orders that {from} took",
    "restart": "cold, nobody stands by: drain {drain_ms:.0f} ms, hydrate {hydrate_ms:.0f} ms",
}


def milliseconds(value):
    return "-" if value is None else f"{value:.2f}"


def equal(same):
    return "equal" if same else "DIFFERENT"


def steps_text(steps):
    lines = [f"  {'':<41}{'':<9}{'no ack for':>11}   {'p99 before':>10} {'and then':>9}"]
    for number, step in enumerate(steps, 1):
        title = f"{number}  {TITLES[step['step']].format(**step)}"
        lines.append(f"  {title:<41}{step['outcome']:<9}{step['gap_ms']:>8.1f} ms   "
                     f"{milliseconds(step['p99_before_ms']):>10} {milliseconds(step['p99_around_ms']):>9}")
        for line in MEANINGS[step["step"]].format(**step).splitlines():
            lines += textwrap.wrap(line, 110, initial_indent="     ", subsequent_indent="     ")
    return "\n".join(lines)


def text(result):
    state = result["state_digest"] == result["state_digest_uninterrupted"]
    effect = result["effect_digest"] == result["effect_digest_uninterrupted"]
    lines = [f"""
Four changes of a matching engine's version, under load (seed {result['seed']}, {result['flow']})

{steps_text(result['steps'])}

  no ack for: the longest time in which no client got one, around the step
  p99, in ms: of how long orders waited for theirs, of those due in the second before the step, and in the second from then

  orders sent      {result['orders_sent']:>10,}
         acked     {result['orders_acked']:>10,}
         lost      {result['lost']:>10,}   acked, and not in the journal
         doubled   {result['doubled']:>10,}   twice in the journal, or told two outcomes
         reordered {result['reordered']:>10,}   before an earlier one of the same client

  latency, ms      {'p50':>10} {'p99':>10} {'p99.9':>10}   of all, from the moment an order was due"""]
    for phase, when in (("before", "before SIGTERM (steps 1 to 3 are in here)"),
                        ("during", "due until the new one's first ack"), ("after", "after it")):
        values = result["latency"][phase]
        lines.append(f"    {phase:<15}" + "".join(f"{milliseconds(values[m]):>10} " for m in ("p50", "p99", "p99.9"))
                     + f"  {values['orders']:,} orders {when}")
    lines.append(f"""
  state digest     {result['state_digest']}   {equal(state)} to the uninterrupted run
  effect digest    {result['effect_digest']}   {equal(effect)} to the uninterrupted run
  every effect     {equal(result['effects_equal'])}: the same acks and fills, in the same order
  journals         {'one writer for each entry, an unbroken chain' if result['one_writer'] else 'NOT one chain'}

  {'Nothing was lost, nothing doubled, nothing reordered.' if result['good'] else 'FAILED: see above.'}""")
    return "\n".join(lines)
