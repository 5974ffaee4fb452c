"""The library's verdict on hundreds of journals, against the second implementation's (tools/journal_read.py)."""
import json
import os
import random
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.abspath(os.path.join(HERE, to)) for to in ("../support", "../golden", "../../tools")]

import journal_read  # noqa: E402
import process  # noqa: E402
import shapes  # noqa: E402
import workdir  # noqa: E402

READER = workdir.SOURCE / "tools" / "journal_read.py"
ROUNDS = 120
MACHINES = 3
VERDICTS = {"OK": ("whole", "torn"), "BATON_E_DAMAGED": ("damaged",)}


class Independent(workdir.TestCase):
    def test_xxh3_of_known_inputs(self):
        # From the reference implementation: bytes 0, 1, 2, ... modulo 251.
        for size, digest in json.loads(KNOWN).items():
            data = bytes(i % 251 for i in range(int(size)))
            self.assertEqual(journal_read.xxh3_128(data).hex(), digest, size)

    def test_the_golden_journal_reads_as_it_was_written(self):
        golden = workdir.SOURCE / "tests" / "golden" / "journal-v1"
        root = self.workdir() / "journal"
        shapes.unpack(golden / "segments.txt", root)
        journal = journal_read.Journal(root)
        self.assertEqual(journal.verdict, "whole")
        lines = (golden / "expected.txt").read_text().splitlines()
        entries = [line.split() for line in lines if line.startswith("entry")]
        self.assertEqual([(int(e[2]), int(e[4]), int(e[8]), int(e[10])) for e in entries],
                         [(seq, kind, time_ns, len(payload)) for seq, kind, time_ns, payload, *_ in journal.entries])
        self.assertEqual(lines[-1], "end epoch %d batch %d seq %d digest %s" % (*journal.last, journal.digest.hex()))

    def test_both_readers_mean_the_same_journal(self):
        program = os.path.join(os.environ.get("BATON_BUILD", "build/release"), "tests", "journal_scenarios")
        root = self.workdir()
        done = subprocess.run([program, str(root), str(workdir.seed()), str(ROUNDS)], stdout=subprocess.PIPE,
                              check=True, timeout=4 * workdir.DEADLINE_S)
        seen = {}
        for line in done.stdout.decode().splitlines():
            first = json.loads(line)
            second = journal_read.look(first["directory"])
            note = f"{first}\n{second}"
            self.assertIn(first["status"], VERDICTS, note)
            self.assertIn(second["verdict"], VERDICTS[first["status"]], note)
            seen[second["verdict"]] = seen.get(second["verdict"], 0) + 1
            for key in ("last", "last_digest", "entries", "records", "hash", "evidence_batch"):
                self.assertEqual(first[key], second[key], f"{key}\n{note}")
            if first["status"] == "OK":
                for key in ("torn_cut", "first_seq"):
                    self.assertEqual(first[key], second[key], f"{key}\n{note}")
        self.assertEqual(sum(seen.values()), ROUNDS)
        self.assertTrue(seen["whole"] and seen["damaged"], seen)

    def test_it_prints_what_dump_prints_of_journals_that_a_program_wrote(self):
        baton = process.program("baton")
        directory = self.workdir() / "journal"
        draw = random.Random(workdir.seed())
        for round_ in range(4):  # an epoch each
            lines = [draw.randbytes(draw.choice((0, 1, 9, 300, 5000))).replace(b"\n", b"\0") if draw.random() < 0.5
                     else f"plain \t \"{draw.random()}\" \u00e9".encode() for _ in range(draw.randrange(1, 40))]
            subprocess.run([baton, "journal", "append", "--type", str(round_), directory], check=True,
                           input=b"\n".join(lines) + b"\n", stdout=subprocess.DEVNULL, timeout=workdir.DEADLINE_S)
        for options in ((), ("--from", "3"), ("--from", "2", "--to", "5"), ("--from", "100000")):
            first = process.run(baton, "journal", "dump", directory, *options, check=0).stdout
            second = process.run(sys.executable, READER, directory, *options, check=0).stdout
            self.assertEqual([json.loads(line, object_pairs_hook=list) for line in first.splitlines()],
                             [json.loads(line, object_pairs_hook=list) for line in second.splitlines()])
        whole = process.run(baton, "journal", "dump", directory).stdout
        self.assertGreater(len(whole.splitlines()), 3)

    def test_both_readers_mean_the_same_journal_after_crashes_of_a_simulated_machine(self):
        program = os.path.join(os.environ.get("BATON_BUILD", "build/release"), "tests", "journal_simulated")
        baton = process.program("baton")
        first_seed = workdir.seed()
        verdicts = set()
        for seed in range(first_seed, first_seed + MACHINES):
            root = self.workdir()
            process.run(program, root, seed, check=0)
            for directory in sorted(root.iterdir()):
                note = f"seed {seed}: {directory}"
                verified = process.run(baton, "journal", "verify", "-o", "json", directory)
                first, = json.loads(verified.stdout)["journals"]
                journal = journal_read.Journal(directory)
                second = journal_read.look(directory, journal)
                verdicts.add(second["verdict"])
                self.assertEqual(journal_read.EXIT_CODES.get(second["verdict"], 1), verified.status, note)
                self.assertEqual((first["last_seq"], first["entries"], first["records"],
                                  first["recovery"]["evidence"]["batch"]),
                                 (second["last"][2], second["entries"], second["records"], second["evidence_batch"]),
                                 note)
                if verified.status != 11:
                    self.assertEqual(first["recovery"]["torn_cut"], second["torn_cut"], note)
                dumped = process.run(baton, "journal", "dump", directory).stdout
                self.assertEqual([json.loads(line) for line in dumped.splitlines()],
                                 [journal_read.describe(entry) for entry in journal.entries], note)
        print("verdicts:", *sorted(verdicts))


KNOWN = """{"241": "1da1cb61bcb8a2a102e8cd95421c6d02",
         "256": "96c36c85d00e5bc544f5d90dacde463a",
         "1023": "4325711b0ed4d742d3d91d80ac495685",
         "1024": "d0ac1f7b93bf57b9e5d78bafa45b2aa5",
         "1025": "2882ebca04ec915ce95c42288f28186e",
         "1088": "295519bc52981c5c1a848d807034c403",
         "4080": "e400b276e354caf703ceee8d7cd54d79",
         "4096": "e12cd72144990fe57135ffa504f1bc71",
         "8192": "d481c9ee8a8fe42940a71c16bbe37322",
         "12345": "745eacf7dc6381c2200f18cc6ea11a79",
         "20000": "80f2a30f4e268b1d1d7286988c9c84ad"}"""

if __name__ == "__main__":
    workdir.main()
