"""What `journal-bench` prints: the outside contract, not how fast anything is."""
import process
from workdir import TestCase, main

FIELDS = {"suite", "case", "backend", "metric", "unit", "value", "better", "reference",
          "reference_value", "ratio"}


class BenchRows(TestCase):
    def lines(self, backend):
        directory = self.workdir()
        result = process.run(process.program("journal-bench"), "--dir", directory, "--quick", "--json",
                             "-", "--io", backend)
        if backend == "uring" and result.status != 0 and "io_uring" in result.stderr:
            self.skipTest("io_uring is denied here")
        self.assertEqual(result.status, 0, result)
        lines = result.json_lines()
        return lines[0], lines[1:]

    def check(self, backend):
        header, rows = self.lines(backend)
        self.assertNotIn("case", header)
        for key in ("kernel", "cpu", "device_write_cache", "commit_primitive", "build"):
            self.assertTrue(header[key], key)
        for row in rows:
            self.assertEqual(set(row), FIELDS)
            self.assertEqual(row["suite"], "journal")
            self.assertEqual(row["backend"], backend)
            self.assertGreater(row["value"], 0)
            self.assertAlmostEqual(row["ratio"], row["value"] / row["reference_value"], places=5)
        seen = {(row["case"], row["metric"], row["reference"]) for row in rows}
        for metric in ("p50", "p99", "p99.9", "max"):
            self.assertIn(("append_one_in_flight", metric, "raw"), seen)
            self.assertIn(("append_one_in_flight", metric, "raw again"), seen)

    def test_rows_of_the_thread_backend_have_the_contract_s_fields(self):
        self.check("threads")

    def test_rows_of_io_uring_have_the_contract_s_fields(self):
        self.check("uring")

    def test_usage_errors_exit_1_and_leave_nothing(self):
        directory = self.workdir()
        self.assertEqual(process.run(process.program("journal-bench")).status, 1)
        result = process.run(process.program("journal-bench"), "--dir", directory, "--io", "tape")
        self.assertEqual(result.status, 1)
        self.assertIn("Usage:", result.stderr)
        self.assertEqual(list(directory.iterdir()), [])


if __name__ == "__main__":
    main()
