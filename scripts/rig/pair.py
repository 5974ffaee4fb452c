"""Two directories, the instances of the matching engine on them, and an operator who starts again what has ended: a
standby of the one that serves, or, when none does, the one that may."""
import json
import pathlib
import re
import signal
import subprocess
import time

from campaign import Wrong
from processes import Failed, ask_control

OLD, NEW = "matching-engine-1.0.0", "matching-engine-1.1.0"
POLL_S = 0.01
DIFFERENCE = re.compile(r"^baton: [^:]+: (entries \d+ to \d+: .*? digest is \w+ now, it was \w+)", re.MULTILINE)
ENDS = (0, 1, -signal.SIGKILL)  # handed over or drained; refused to start; killed


class Instance:
    """One process on one directory."""

    def __init__(self, processes, program, directory, sockets, log, options=(), standby_of=None):
        self.directory, self.log, self.program = directory, pathlib.Path(log), pathlib.Path(program).name
        self.control = f"{sockets}/{directory.name}.control"
        self._log_from = self.log.stat().st_size if self.log.exists() else 0
        follow = ["--standby-of", standby_of] if standby_of else []
        self.started_s = time.monotonic()
        self.child = processes.start(
            [program, "run", "--dir", directory, "--listen", f"unix:{sockets}/orders", "--control", self.control,
             *follow, *options], stdout=log, stderr=log)
        self.pid = self.child.pid

    def running(self):
        return self.child.poll() is None

    def said(self):
        """Its own part of the log."""
        with open(self.log, errors="replace") as file:
            file.seek(self._log_from)
            return file.read()

    def wait_said(self, words, offset, timeout_s):
        """Until those words stand in the log after that offset, or it has ended, or the time is over: do they?"""
        end = time.monotonic() + timeout_s
        with open(self.log, "rb") as file:
            file.seek(offset)
            said = b""
            while words not in said and time.monotonic() < end and self.running():
                said += file.read()
                time.sleep(0.0002)
        return words in said

    def ask(self, word, timeout_s=60, **fields):
        """The answer to a control word; None when this process does not answer (yet, or no more)."""
        try:
            return ask_control(self.control, self.pid, word, timeout_s, **fields)
        except TimeoutError:
            raise Wrong(f"{self.directory.name} gave no answer to '{word}' in {timeout_s} s: see {self.log}") from None

    def status(self):
        return self.ask("status") if self.running() else None

    def phase(self):
        status = self.status()
        return status["phase"] if status else "starting" if self.running() else None

    def send(self, number):
        self.child.send_signal(number)

    def wait(self, what, timeout_s=60):
        """Its exit code."""
        try:
            return self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Wrong(f"{self.directory.name} still runs {timeout_s} s after {what}: see {self.log}") from None

    def kill(self):
        self.child.kill()
        self.child.wait()

    def terminate(self):
        self.send(signal.SIGTERM)
        code = self.wait("SIGTERM")
        if code != 0:
            raise Wrong(f"the drain of {self.directory.name} ended with {code}: see {self.log}")


class Pair:
    """start(directory, standby_of) makes an Instance: the campaign says which."""

    def __init__(self, directories, start):
        self.directories, self._start = directories, start
        self.instances = {}
        self.authority = directories[0]  # as far as the operator knows
        self.starts = 0

    def other(self, directory):
        first, second = self.directories
        return second if directory == first else first

    def start(self, directory, standby):
        self.instances[directory] = self._start(directory, self.other(directory) if standby else None)
        self.starts += 1

    def phases(self):
        return {directory: self.instances[directory].phase() if directory in self.instances else None
                for directory in self.directories}

    def check_one_active(self, phases):
        """Two that serve at one moment: the first said so before and after the other did."""
        if list(phases.values()) != ["running", "running"]:
            return
        first, second = (self.instances[directory] for directory in self.directories)
        before = first.status()
        between = second.status()
        after = first.status()
        if before and between and after and \
                before["phase"] == between["phase"] == after["phase"] == "running":
            raise Wrong(f"two serve: epoch {after['epoch']} in {first.directory} and {between['epoch']} in "
                        f"{second.directory}")

    def _find_difference(self, instance):
        """One that follows compares what batches and checkpoints tell."""
        differs = DIFFERENCE.search(instance.said())
        if differs:
            raise Wrong(f"the two differ, {instance.directory.name} says: {differs.group(1)}: see {instance.log}")

    def find_differences(self):
        for instance in self.instances.values():
            self._find_difference(instance)

    def _end_of(self, directory, phases):
        """Of an instance that has ended, once: was that an end that may be? A refusal may name the authority, never a
        living standby: that one waits for him who is refused."""
        instance = self.instances.pop(directory, None)
        if instance is None:
            return
        code = instance.child.wait()
        if code not in ENDS:
            raise Wrong(f"{directory.name} ended with {code}: see {instance.log}")
        self._find_difference(instance)
        other = self.other(directory)
        if code == 1 and f"authority is {other}" in instance.said():
            self.authority = other
        elif code == 1 and f"runs in {other}" in instance.said() and phases[other] == "following":
            raise Wrong(f"{directory.name} is refused for {other.name}, which waits for it: see {instance.log}")

    def operate(self, phases):
        for directory, phase in phases.items():
            if phase is not None:
                continue
            self._end_of(directory, phases)
            other = self.other(directory)
            if phases[other] == "running":
                self.start(directory, standby=True)
            elif self.authority == directory or phases[other] == "following":
                self.start(directory, standby=False)

    def is_level(self, active, phases):
        status = self.instances[active].status()
        standby = self.instances.get(self.other(active))
        return (status and standby and phases[self.other(active)] == "following"
                and any(f["directory"] == str(standby.directory) and f["following"] for f in status["followers"]))

    def settle(self, budget_s):
        """Until one serves and the other one follows it; who has ended is started. The active's directory."""
        end = time.monotonic() + budget_s
        while True:
            phases = self.phases()
            self.check_one_active(phases)
            serving = [directory for directory, phase in phases.items() if phase == "running"]
            if len(serving) == 1:
                self.authority = serving[0]
                if self.is_level(serving[0], phases):
                    return serving[0]
            if time.monotonic() > end:
                raise Wrong(f"no active with a standby within {budget_s} s: "
                            f"{ {directory.name: phase for directory, phase in phases.items()} }")
            self.operate(phases)
            time.sleep(POLL_S)

    def settle_level(self, budget_s):
        """And the standby has all: for a quiet one."""
        end = time.monotonic() + budget_s
        while time.monotonic() < end:
            active = self.settle(budget_s)
            here, there = self.instances[active].status(), self.instances[self.other(active)].status()
            if here and there and here["seq"] == here["durable_seq"] == there["durable_seq"] == there["seq"]:
                return active, here, there
            time.sleep(POLL_S)
        raise Wrong(f"the standby is not level within {budget_s} s: {here and here['seq']}, {there and there['seq']}")

    def drain_equal(self, budget_s):
        """The end of a run: nothing comes any more, both have all, and the same; then both end well. The active's last status."""
        active, here, there = self.settle_level(budget_s)
        if (here["state_digest"], here["effect_digest"]) != (there["state_digest"], there["effect_digest"]):
            raise Wrong(f"the two differ after entry {here['seq']}")
        self.drain(active)
        return here

    def drain(self, active):
        """The standby first; both must end well."""
        self.instances[self.other(active)].terminate()
        self.instances[active].terminate()
        self.instances.clear()


class Load:
    """exchange-load, and what it told at its end."""

    def __init__(self, processes, program, sockets, work, name, load_options, progress=None):
        self.acks, self._json, self._log = work / f"{name}.acks", work / f"{name}.json", work / f"{name}.load.log"
        self.child = processes.start(
            [program, "--connect", f"unix:{sockets}/orders", "--virtual-time", *load_options, "--acks-out", self.acks,
             "--json", self._json], stdout=self._log, stderr=progress or self._log)

    def running(self):
        return self.child.poll() is None

    def finish(self):
        code = self.child.wait()
        if not self._json.exists() or not self._json.stat().st_size:
            raise Failed(f"run the load: it ended with {code}: see {self._log}")
        return json.loads(self._json.read_text())
