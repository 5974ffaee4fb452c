"""What a process holds: memory, descriptors, threads; and whether that stays the same over a long time."""
import os
import statistics

ARENA = (0x551000000000, 4 << 30)  # where the rig lets the state be: it grows with the orders, not with handovers


def _memory_kib(pid):
    """Of all mappings but the arena: (resident, private)."""
    resident = private = 0
    counted = True
    with open(f"/proc/{pid}/smaps") as file:
        for line in file:
            name, value = line.split(None, 1)
            if not name.endswith(":"):
                begin = int(name.split("-")[0], 16)
                counted = not ARENA[0] <= begin < ARENA[0] + ARENA[1]
            elif counted and name == "Rss:":
                resident += int(value.split()[0])
            elif counted and name in ("Private_Clean:", "Private_Dirty:"):
                private += int(value.split()[0])
    return resident, private


def _threads(pid):
    """Its own; io_uring's workers come and go as the kernel likes."""
    count = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/comm") as file:
                count += not file.read().startswith("iou-")
        except FileNotFoundError:
            pass
    return count


def take(pid):
    resident, private = _memory_kib(pid)
    return {"resident_kib": resident, "private_kib": private, "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": _threads(pid)}


def compare(samples, tolerance):
    """The first quarter after a warm-up (a tenth) against the last, by their medians. None: too few to say."""
    warm = samples[len(samples) // 10:]
    part = len(warm) // 4
    if part < 3:
        return None
    result = {"samples": len(samples), "flat": True}
    for name, allowed in tolerance.items():
        first = statistics.median(sample[name] for sample in warm[:part])
        last = statistics.median(sample[name] for sample in warm[-part:])
        result[name] = {"first": first, "last": last, "allowed": allowed}
        result["flat"] = result["flat"] and last - first <= allowed
    return result
