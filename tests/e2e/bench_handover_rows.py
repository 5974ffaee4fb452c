"""What `handover-bench` prints: the outside contract, not how fast anything is."""
import json

import process
from workdir import TestCase, main

FIELDS = {"suite", "case", "backend", "metric", "unit", "value", "better", "reference",
          "reference_value", "ratio"}
CASES = ("handover_gap", "follow", "portable_rollback", "cold_start")
COUNTS = [("orders", metric, None) for metric in ("lost", "doubled", "reordered")]
# What each case has: (case, metric, reference).
ROWS = {
    "handover_gap": [("handover_gap", metric, None) for metric in ("p50", "p99", "max")] +
                    [("handover_gap", metric, reference) for metric in ("p50", "p99")
                     for reference in ("raw (5 durable writes)", "raw again")] +
                    [("handover_fresh", "max", None), ("warm_rollback", "p50", None), ("warm_rollback", "max", None),
                     ("cutover_orders", "p99", "the second before"), ("cutover_orders", "p99_over_allowed", None)],
    "follow": [("follow_lag", metric, reference) for metric in ("p50", "p99", "max")
               for reference in (None, "raw (1 durable write)", "raw again")] +
              [("follow_cost", "entries_per_s", reference) for reference in ("without a standby", "without again")],
    "portable_rollback": [("portable_rollback", metric, None) for metric in ("p50", "max", "gap_max")],
    "cold_start": [("cold_start", "value", None)],
}
# Case and metric of each line that has a bar.
BARS = {("handover_gap", "p50"), ("handover_gap", "p99"), ("handover_gap", "max"), ("warm_rollback", "max"),
        ("cutover_orders", "p99_over_allowed"), ("follow_lag", "p99"), ("follow_cost", "entries_per_s"),
        ("portable_rollback", "max"), ("cold_start", "value"), ("orders", "lost"), ("orders", "doubled"), ("orders", "reordered")}


class BenchHandoverRows(TestCase):
    def check_rows(self, rows, backend):
        for row in rows:
            self.assertEqual((set(row), row["suite"], row["backend"]), (FIELDS, "handover", backend))
            self.assertIn(row["better"], ("lower", "higher"))
            if row["case"] == "orders":
                self.assertEqual(row["value"], 0, row)  # whoever measures a handover that loses orders is told
            if row["reference"] is None:
                self.assertIsNone(row["ratio"])

    def seen(self, rows):
        return [(row["case"], row["metric"], row["reference"]) for row in rows]

    def run_all(self, backend):
        directory, rows = self.workdir(), self.workdir() / "rows.json"
        result = process.run(process.program("handover-bench"), "--dir", directory, "--smoke", "--io", backend,
                             "--json", rows, timeout=250)
        denied = result.status != 0 and "io_uring" in "".join(log.read_text() for log in directory.glob("*.log"))
        return result, rows, denied

    def test_each_case_has_its_rows_after_one_header_and_each_bar_is_known(self):
        backend = "uring"
        result, rows_out, denied = self.run_all(backend)
        if denied:
            backend = "threads"
            result, rows_out, _ = self.run_all(backend)
        self.assertEqual(result.status, 0, result)
        header, *rows = map(json.loads, rows_out.read_text().splitlines())
        self.assertNotIn("case", header)
        for key in ("kernel", "cpu", "device_write_cache", "commit_primitive", "build"):
            self.assertTrue(header[key], key)
        self.check_rows(rows, backend)
        self.assertEqual(set(self.seen(rows)), set(COUNTS).union(*ROWS.values()))
        judged = {tuple(line.split()[0:3:2]) for line in result.stdout.splitlines() if "(bar: " in line}
        self.assertEqual(judged, BARS if backend == "uring" else set())  # bars are for io_uring

    def test_a_directory_that_is_not_empty_is_refused(self):
        directory = self.workdir()
        (directory / "orders").write_text("an old one")
        result = process.run(process.program("handover-bench"), "--dir", directory, "--smoke")
        self.assertEqual((result.status, result.stdout), (1, ""))
        self.assertIn("not empty", result.stderr)

    def test_usage_errors_exit_1_and_leave_nothing(self):
        directory = self.workdir()
        self.assertEqual(process.run(process.program("handover-bench")).status, 1)
        for wrong in (("--io", "tape"), ("--case", "teleport"), ("--mib", "large"), ("--mib", "9000")):
            result = process.run(process.program("handover-bench"), "--dir", directory, *wrong)
            self.assertEqual(result.status, 1)
            self.assertIn("Usage:", result.stderr)
        self.assertEqual(list(directory.iterdir()), [])

    def test_the_names_of_the_cases_are_listed(self):
        for options in (("--list",), ("--case", "list")):
            result = process.run(process.program("handover-bench"), *options)
            self.assertEqual((result.status, tuple(result.stdout.split())), (0, CASES))


if __name__ == "__main__":
    main()
