"""Every golden journal reads as on the day it was written, by the library and by the second reader."""
import json
import os
import sys

import process
from workdir import SOURCE, TestCase, main

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), str(SOURCE / "tools")]

import journal_read  # noqa: E402
import shapes  # noqa: E402

SHAPES = sorted((SOURCE / "tests" / "golden" / "journal-v1-shapes").glob("*.txt"))
BATON = process.program("baton")
# verify's exit code -> dump's, which says nothing of a torn tail
OF_DUMP = {0: 0, 10: 0, 11: 11, 1: 1}


class Golden(TestCase):
    def each(self, judge):
        """judge(directory, facts, entries) for every shape; all that are wrong are named."""
        self.assertGreaterEqual(len(SHAPES), 29)
        root = self.workdir()
        for path in SHAPES:
            directory = root / path.stem
            found = shapes.unpack(path, directory)
            with self.subTest(path.stem):
                judge(directory, *found)

    def dumped(self, directory, status):
        text = process.run(BATON, "journal", "dump", directory, check=status).stdout
        return [json.loads(line) for line in text.splitlines()]

    def test_the_library_reads_each_as_it_was_written(self):
        def judge(directory, facts, entries):
            for backend in ("threads", "auto"):
                verified = process.run(BATON, "journal", "verify", "-o", "json", "--io", backend, directory)
                self.assertEqual(shapes.facts(verified.status, verified.stdout), facts)
            found = self.dumped(directory, OF_DUMP[facts["exit"]])
            self.assertEqual([shapes.entry_line(entry) for entry in found], entries)
        self.each(judge)

    def test_the_second_reader_reads_each_as_it_was_written(self):
        def judge(directory, facts, entries):
            found = journal_read.look(directory)
            if facts["exit"] == 1:
                self.assertEqual(found["verdict"], "newer format")
                return
            self.assertEqual(journal_read.EXIT_CODES[found["verdict"]], facts["exit"])
            self.assertEqual((found["last"][2], found["entries"], found["records"], found["evidence_batch"]),
                             (facts["last_seq"], facts["entries"], facts["records"], facts["evidence"]["batch"]))
            if facts["entries"]:
                self.assertEqual(found["last_digest"], facts["last_digest"])
            if facts["exit"] != 11:
                self.assertEqual(found["torn_cut"], facts["torn_cut"])
            read = [journal_read.describe(entry) for entry in journal_read.Journal(directory).entries]
            self.assertEqual([shapes.entry_line(entry) for entry in read], entries)
        self.each(judge)

    def test_a_successor_takes_over_each_that_is_not_damaged(self):
        def judge(directory, facts, entries):
            appended = process.run(BATON, "journal", "append", "--io", "threads", directory, input="next\n")
            if facts["exit"] in (1, 11):
                self.assertEqual(appended.status, facts["exit"], appended)
                return
            self.assertEqual(appended.status, 0, appended)
            verified = process.run(BATON, "journal", "verify", "-o", "json", directory, check=0)
            after = shapes.facts(0, verified.stdout)
            self.assertEqual((after["last_seq"], after["closed"]), (facts["last_seq"] + 1, True))
            found = self.dumped(directory, 0)
            self.assertEqual([shapes.entry_line(entry) for entry in found[:-1]], entries)
            self.assertEqual(found[-1]["payload"], "next")
        self.each(judge)

    def test_a_shape_that_says_otherwise_is_noticed(self):
        root = self.workdir()
        facts, _ = shapes.unpack(SHAPES[0], root / "changed")
        segment = sorted((root / "changed").glob("*.seg"))[0]
        with open(segment, "r+b") as file:
            file.seek(4096 + 130)
            file.write(b"\xff")
        verified = process.run(BATON, "journal", "verify", "-o", "json", root / "changed")
        self.assertNotEqual(shapes.facts(verified.status, verified.stdout), facts)


if __name__ == "__main__":
    main()
