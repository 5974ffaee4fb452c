"""What `snapshot-bench` prints: the outside contract, not how fast anything is."""
import process
from workdir import TestCase, main

FIELDS = {"suite", "case", "backend", "metric", "unit", "value", "better", "reference",
          "reference_value", "ratio"}
LATENCIES = ("p50", "p99", "p99.9", "max")
CASES = ("image_write", "increment", "stall", "stall_fork", "image_load", "memory", "drain_final",
         "cold_start", "portable_write", "portable_load")
# What each case has: (case, metric, reference).
ROWS = {
    "image_write": [("image_write", "bytes_per_s", "raw"), ("image_write", "bytes_per_s", "raw again")],
    "image_load": [("image_load", "bytes_per_s", reference) for reference in ("raw", "raw again", "raw filled")]
    + [("image_load", "cpu", None)],
    "increment": [("increment", "p50", reference) for reference in (None, "raw", "raw again")],
    "stall": [("stall", metric, reference) for metric in LATENCIES for reference in ("raw loop", "raw again")]
    + [("stall", metric, None) for metric in ("p99.9_added", "pause", "pause_over_copy")],
    "stall_fork": [("stall_fork", metric, reference) for metric in LATENCIES for reference in ("raw loop", "raw again")]
    + [("stall_fork", metric, None) for metric in ("p99.9_added", "pause", "pause_over_copy")],
    "memory": [("memory", "beyond_state", reference) for reference in ("limit (5 % + 64 MiB)", "state")],
    "drain_final": [(case, "p50", reference) for case in ("drain_final", "drain_final_cold")
                    for reference in (None, "raw", "raw again")]
    + [(case, "max", None) for case in ("drain_final", "drain_final_cold")],
    "cold_start": [("cold_start", "p50", reference) for reference in ("raw", "raw again", "raw filled")],
    "portable_write": [(case, "entries_per_s", None) for case in ("portable_write", "portable_load")] +
                      [("portable_load", "entries_per_s", "raw filled")],
}
# Case and metric of each line of the table that has a bar.
BARS = {("image_write", "bytes_per_s"), ("image_load", "bytes_per_s"), ("increment", "p50"), ("stall", "p99.9_added"),
        ("stall", "pause"), ("stall", "pause_over_copy"), ("memory", "beyond_state"), ("drain_final", "p50"),
        ("cold_start", "p50")}


class BenchSnapshotRows(TestCase):
    def run_bench(self, *options, directory=None, io="threads"):
        result = process.run(process.program("snapshot-bench"), "--dir", directory or self.workdir(), "--smoke",
                             "--peers", "no", "--io", io, *options, timeout=200)
        if io == "uring" and result.status != 0 and "io_uring" in result.stderr:
            self.skipTest("io_uring is denied here")
        self.assertEqual(result.status, 0, result)
        return result

    def check_rows(self, rows, backend):
        for row in rows:
            self.assertEqual((set(row), row["suite"], row["backend"]), (FIELDS, "snapshot", backend))
            self.assertIn(row["better"], ("lower", "higher"))
            if row["metric"] not in ("p99.9_added", "pause_over_copy", "cpu"):  # differences; too small to see
                self.assertGreater(row["value"], 0, row)
            if row["reference"] is None:
                self.assertIsNone(row["ratio"])
            else:
                self.assertAlmostEqual(row["ratio"] / (row["value"] / row["reference_value"]), 1, places=5)

    def seen(self, rows):
        return [(row["case"], row["metric"], row["reference"]) for row in rows]

    def test_every_case_has_its_rows_after_one_header(self):
        directory = self.workdir()
        header, *rows = self.run_bench("--json", "-", directory=directory).json_lines()
        self.assertNotIn("case", header)
        for key in ("kernel", "cpu", "device_write_cache", "commit_primitive", "build"):
            self.assertTrue(header[key], key)
        self.check_rows(rows, "threads")
        self.assertEqual(sorted(self.seen(rows), key=str), sorted(sum(ROWS.values(), []), key=str))
        self.assertEqual(list(directory.iterdir()), [])

    def test_one_case_alone_on_io_uring(self):
        for case in ("image_write", "cold_start"):
            _, *rows = self.run_bench("--case", case, "--json", "-", io="uring").json_lines()
            self.check_rows(rows, "uring")
            self.assertEqual(sorted(self.seen(rows), key=str), sorted(ROWS[case], key=str))

    def test_only_the_largest_size_has_the_plain_name(self):
        sizes = ("--mib", "32", "--mib", "16", "--case", "increment")
        _, *rows = self.run_bench(*sizes, "--json", "-").json_lines()
        self.assertEqual([case for case, _, reference in self.seen(rows) if reference is None],
                         ["increment_16m", "increment"])

    def test_each_bar_is_known_at_each_size(self):
        lines = self.run_bench("--mib", "16", "--mib", "32", io="uring").stdout.splitlines()
        judged = {tuple(line.split()[0:3:2]) for line in lines if "(bar: " in line}
        small = {(f"{case}_16m", metric) for case, metric in BARS if case != "cold_start"}
        self.assertEqual(judged, BARS | small)

    def test_a_size_that_does_not_fit_is_left_out_and_said_so(self):
        result = self.run_bench("--mib", "1000000000", "--case", "image_write")
        self.assertIn("1000000000 MiB: left out", result.stdout)
        result = self.run_bench("--mib", "1000000000", "--case", "image_write", "--json", "-")
        self.assertIn("1000000000 MiB: left out", result.stderr)
        self.assertEqual(len(result.json_lines()), 1)

    def test_a_directory_that_is_not_empty_is_refused(self):
        directory = self.workdir()
        (directory / "dump.rdb").write_text("an old one")
        result = process.run(process.program("snapshot-bench"), "--dir", directory, "--smoke")
        self.assertEqual((result.status, result.stdout), (1, ""))
        self.assertIn("not empty", result.stderr)

    def test_usage_errors_exit_1_and_leave_nothing(self):
        directory = self.workdir()
        self.assertEqual(process.run(process.program("snapshot-bench")).status, 1)
        for wrong in (("--io", "tape"), ("--case", "teleport"), ("--mib", "large"), ("--peers", "some")):
            result = process.run(process.program("snapshot-bench"), "--dir", directory, *wrong)
            self.assertEqual(result.status, 1)
            self.assertIn("Usage:", result.stderr)
        self.assertEqual(list(directory.iterdir()), [])

    def test_the_names_of_the_cases_are_listed(self):
        for options in (("--list",), ("--case", "list")):
            result = process.run(process.program("snapshot-bench"), *options)
            self.assertEqual((result.status, tuple(result.stdout.split())), (0, CASES))


if __name__ == "__main__":
    main()
