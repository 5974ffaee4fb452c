"""The handover protocol's model (docs/handover.pml) by spin: as it is, and with one rule after the other taken out.

    handover_model.py Model Mistakes Rules       what ctest runs
    handover_model.py Large                      a larger bound: a minute or two, 1 GiB
"""
import os
import re
import shutil
import sys
import unittest

import process
from workdir import SOURCE, TestCase, main

MODEL = SOURCE / "docs/handover.pml"
DENIED = 77
MEMORY_MIB = 2048
DEPTH = 400000
SAFETY = ("-DSAFETY",)
FAIR = ("-DNFAIR=3",)
END = "-end-"  # of a process, which has none: its loop is endless


class Explored:
    """What pan says: how far it looked, and what it found."""

    def __init__(self, out, states):
        self.out = out
        self.found = re.findall(r"pan:\d+: (.*) \(at depth \d+\)", out)
        errors = re.search(r"errors: (\d+)", out)
        self.errors = int(errors.group(1)) if errors else None
        stored = re.search(r"^ *([\d.e+]+) states, stored", out, re.MULTILINE)
        self.stored = int(float(stored.group(1))) if stored else 0
        # An inline has a copy in each place where it stands; a line is unreached if all its copies are. (-o3: a
        # state for each statement, else pan lists fewer.)
        missed = {state[:2]: state[2] for state in self._missed()}
        lines = {}
        for state, line in {**{state[:2]: state[2] for state in states}, **missed}.items():
            lines.setdefault(line, []).append(state in missed)
        self.unreached = {line for line, copies in lines.items() if all(copies)}

    def _missed(self):
        name = None
        for text in self.out.splitlines():
            if begins := re.match(r"unreached in (?:proctype|claim) (\w+)", text):
                name = begins.group(1)
            elif state := re.match(r'\t\S+:(\d+), state (\d+), "(.*)"', text):
                if state.group(3) != END:
                    yield name, int(state.group(2)), int(state.group(1))


class Spin(TestCase):
    def explore(self, *defines, compiled=SAFETY, run=()):
        directory = self.workdir()
        defines = [f"-D{define}" for define in defines]
        process.run("spin", "-a", "-o3", *defines, MODEL, cwd=directory, check=0, timeout=600)
        process.run("gcc", "-O1", "-w", *compiled, "-DCOLLAPSE", f"-DMEMLIM={MEMORY_MIB}", "-o", "pan", "pan.c",
                    cwd=directory, check=0, timeout=600)
        out = process.run(directory / "pan", f"-m{DEPTH}", *run, cwd=directory, timeout=1200).stdout
        states, name = [], None
        for text in process.run(directory / "pan", "-d", cwd=directory).stdout.splitlines():
            if begins := re.match(r"(?:proctype|claim|init) (\w+)", text):
                name = begins.group(1)
            elif state := re.match(r"\tstate +(\d+) .*handover\.pml:(\d+) => (.*)", text):
                if END not in state.group(3):
                    states.append((name, int(state.group(1)), int(state.group(2))))
        return Explored(out, states)

    def text(self, line):
        return MODEL.read_text().splitlines()[line - 1].strip()

    def holds(self, *defines, **how):
        explored = self.explore(*defines, **how)
        print(f"{' '.join(defines)}: {explored.stored} states", flush=True)
        self.assertEqual((explored.errors, explored.found), (0, []), explored.out)
        for incomplete in ("max search depth too small", "Search not completed", "out of memory", "memory limit"):
            self.assertNotIn(incomplete, explored.out)
        return explored

    def never_ends(self, *defines):
        """Safe, and yet two wait for each other for good."""
        explored = self.explore("LIVENESS", "NO_JUDGE", "SEQS=1", *defines, compiled=FAIR, run=("-a", "-f"))
        print(f"{' '.join(defines)}: {explored.found} after {explored.stored} states", flush=True)
        self.assertEqual(explored.errors, 1, explored.out)
        self.assertIn("acceptance cycle", explored.found[0])

    def fails(self, expected, *defines, **how):
        explored = self.explore("NO_JUDGE", *defines, **how)
        print(f"{' '.join(defines)}: {explored.found} after {explored.stored} states", flush=True)
        self.assertEqual(explored.errors, 1, explored.out)
        self.assertRegex(explored.found[0], expected)


TWO_ACTIVE = r"assertion violated .*st\[0\].*st\[1\]"
OTHER_STATE = r"assertion violated .*diverged"


class Model(Spin):
    def test_on_one_host_two_never_act_and_nothing_acknowledged_is_lost(self):
        once = self.holds("KILLS=2", "POWER=1", "LOSSES=1", "TRIES=1")
        self.assertGreater(once.stored, 500000)
        again = self.holds("KILLS=2", "POWER=0", "LOSSES=1", "TRIES=2")
        unreached = sorted(once.unreached & again.unreached)
        self.assertEqual([(line, self.text(line)) for line in unreached], [], "steps that can never be taken")

    def test_on_two_hosts_too(self):
        self.holds("TWO_HOSTS", "KILLS=2", "POWER=1", "LOSSES=1", "TRIES=1")

    def test_once_faults_end_exactly_one_serves_for_good(self):
        for defines in (["KILLS=2", "POWER=0", "TRIES=2"], ["KILLS=1", "POWER=1", "TRIES=1"],
                        ["KILLS=2", "POWER=0", "TRIES=1", "TWO_HOSTS"]):
            self.holds("LIVENESS", "NO_JUDGE", "LOSSES=1", "SEQS=1", *defines, compiled=FAIR, run=("-a", "-f"))


class Mistakes(Spin):
    """The four that a reader of the protocol would think of."""

    BOUND = ("KILLS=2", "POWER=0", "LOSSES=1", "TRIES=2")

    def test_the_successor_acts_before_the_record_is_durable(self):
        self.fails(TWO_ACTIVE, "MISTAKE_ACT_EARLY", *self.BOUND)

    def test_the_old_one_resumes_after_submitting_the_record(self):
        self.fails(TWO_ACTIVE, "MISTAKE_RESUME", *self.BOUND)

    def test_digests_are_not_compared(self):
        self.fails(OTHER_STATE, "MISTAKE_NO_DIGEST", *self.BOUND)

    def test_a_term_has_no_epoch(self):
        self.fails(TWO_ACTIVE, "MISTAKE_NO_EPOCH", *self.BOUND)


class Rules(Spin):
    """The others: each rule is needed."""

    def test_r5_flush_the_found_record(self):
        self.fails(TWO_ACTIVE, "MISTAKE_NO_FLUSH", "KILLS=1", "POWER=1", "LOSSES=0", "TRIES=1")

    def test_r5_look_again_after_the_flush(self):
        self.fails(TWO_ACTIVE, "MISTAKE_NO_LAST_LOOK", "KILLS=2", "POWER=0", "LOSSES=1", "TRIES=2")

    def test_r5_a_burnt_name_spoils_the_record(self):
        self.fails(TWO_ACTIVE, "MISTAKE_SPOILT", "KILLS=2", "POWER=0", "LOSSES=1", "TRIES=2")

    def test_r5_only_the_nonce_that_is_named(self):
        self.fails("assertion violated", "MISTAKE_ANY_NONCE", "KILLS=2", "POWER=0", "LOSSES=1", "TRIES=2")

    def test_r6_above_the_names_of_both_directories(self):
        self.fails("assertion violated", "MISTAKE_OWN_NAMES", "KILLS=4", "POWER=0", "LOSSES=0", "TRIES=1", "SEQS=1")

    def test_r7_a_header_alone_proves_nothing(self):
        self.fails(TWO_ACTIVE, "MISTAKE_TRUST_UNPROVEN", "KILLS=2", "POWER=0", "LOSSES=1", "TRIES=2")


    def test_m11_who_has_let_go_of_its_promise_says_so(self):
        self.never_ends("MISTAKE_WORD_BY_NONCE", "KILLS=2", "POWER=0", "LOSSES=0", "TRIES=1")


class Large(Spin):
    def test_a_larger_bound(self):
        self.holds("KILLS=2", "POWER=1", "LOSSES=1", "TRIES=2")
        self.holds("KILLS=4", "POWER=0", "LOSSES=0", "TRIES=1")


if __name__ == "__main__":
    for needed in ("spin", "gcc"):
        if shutil.which(needed) is None:
            print(f"skipped: {needed} is not installed; scripts/setup installs it")
            sys.exit(DENIED)
    main()
