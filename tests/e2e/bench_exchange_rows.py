"""What `exchange-bench` prints: the outside contract, not how fast anything is."""
import json

import process
from workdir import TestCase, main

FIELDS = {"suite", "case", "backend", "metric", "unit", "value", "better", "reference",
          "reference_value", "ratio"}
CASES = ("apply", "apply_linked", "durable", "whole_exchange", "replay_hour")
LATENCIES = ("p50", "p99", "p99.9", "max")
RATES = ("whole_exchange_5k", "whole_exchange_10k", "whole_exchange_50k")
ALONE = [(case, metric, None) for case in ("apply", "apply_linked")
         for metric in ("entries_per_s", "cpu_ns_per_entry") + LATENCIES]
DURABLE = [row for case in ("durable", "durable_linked") for row in
           [(case, "bytes_per_s", reference) for reference in ("raw", "raw again")] +
           [(case, metric, None) for metric in ("entries_per_s", "cpu_ns_per_entry")]]
WHOLE = [(case, metric, reference)
         for case, metrics in [(rate, LATENCIES) for rate in RATES] + [("whole_exchange", ("entries_per_s",))]
         for metric in metrics for reference in ("raw (3 bare processes)", "raw again")]
# Case and metric of each line that has a bar.
BARS = {("apply", "entries_per_s"), ("apply", "p99"), ("durable", "entries_per_s"), ("whole_exchange_5k", "p50")}


class BenchExchangeRows(TestCase):
    def run_bench(self, *options, directory=None):
        directory = directory or self.workdir()
        result = process.run(process.program("exchange-bench"), "--dir", directory, "--smoke", *options, timeout=110)
        logs = "".join(log.read_text() for log in directory.glob("*.log"))
        if result.status != 0 and "uring" not in options and "io_uring" in result.stderr + logs:
            self.skipTest("io_uring is denied here")
        self.assertEqual(result.status, 0, (result, logs))
        return result

    def check_rows(self, rows):
        for row in rows:
            self.assertEqual((set(row), row["suite"]), (FIELDS, "exchange"))
            self.assertEqual(row["better"], "higher" if row["unit"] in ("1/s", "B/s") else "lower")
            if row["case"] != "whole_exchange":  # on a busy machine no rate may be held
                self.assertGreater(row["value"], 0, row)
                if row["reference"] is not None:
                    self.assertAlmostEqual(row["ratio"] / (row["value"] / row["reference_value"]), 1, places=5)
            if row["reference"] is None:
                self.assertIsNone(row["ratio"])

    def seen(self, rows):
        return sorted([(row["case"], row["metric"], row["reference"]) for row in rows], key=str)

    def test_every_case_has_its_rows_after_one_header_and_each_bar_is_known(self):
        directory, rows_out = self.workdir(), self.workdir() / "rows.json"
        result = self.run_bench("--json", rows_out, directory=directory)
        header, *rows = map(json.loads, rows_out.read_text().splitlines())
        self.assertNotIn("case", header)
        for key in ("kernel", "cpu", "device_write_cache", "commit_primitive", "build"):
            self.assertTrue(header[key], key)
        self.check_rows(rows)
        self.assertEqual(self.seen(rows), sorted(ALONE + DURABLE + WHOLE, key=str))
        self.assertEqual({row["case"]: row["backend"] for row in rows if row["case"] in ("apply", "durable")},
                         {"apply": None, "durable": "uring"})
        judged = {tuple(line.split()[0:3:2]) for line in result.stdout.splitlines() if "(bar: " in line}
        self.assertEqual(judged, BARS)
        self.assertIn("replay_hour: left out", result.stdout)
        left = [path.name for path in directory.iterdir() if path.suffix not in (".log", ".lock")]
        self.assertEqual(left, [])

    def test_threads_write_it_too(self):
        _, *rows = self.run_bench("--io", "threads", "--case", "whole_exchange", "--json", "-").json_lines()
        self.check_rows(rows)
        self.assertEqual(self.seen(rows), sorted(WHOLE, key=str))
        self.assertEqual({row["backend"] for row in rows}, {"threads"})

    def test_without_a_directory_what_needs_a_disk_is_left_out_and_said_so(self):
        result = process.run(process.program("exchange-bench"), "--smoke", "--json", "-", timeout=110)
        self.assertEqual(result.status, 0, result)
        _, *rows = result.json_lines()
        self.assertEqual(self.seen(rows), sorted(ALONE, key=str))
        for case in ("durable", "whole_exchange"):
            self.assertIn(f"{case}: left out", result.stderr)

    def test_a_directory_that_is_not_empty_is_refused(self):
        directory = self.workdir()
        (directory / "orders").write_text("an old one")
        result = process.run(process.program("exchange-bench"), "--dir", directory, "--smoke")
        self.assertEqual((result.status, result.stdout), (1, ""))
        self.assertIn("not empty", result.stderr)

    def test_usage_errors_exit_1_and_leave_nothing(self):
        directory = self.workdir()
        for wrong in (("--io", "tape"), ("--rate", "fast"), ("more",)):
            result = process.run(process.program("exchange-bench"), "--dir", directory, *wrong)
            self.assertEqual(result.status, 1)
            self.assertIn("Usage:", result.stderr)
        result = process.run(process.program("exchange-bench"), "--dir", directory, "--case", "teleport")
        self.assertEqual((result.status, result.stdout), (1, ""))
        self.assertIn("no such case", result.stderr)
        self.assertEqual(list(directory.iterdir()), [])

    def test_the_names_of_the_cases_are_listed(self):
        for options in (("--list",), ("--case", "list")):
            result = process.run(process.program("exchange-bench"), *options)
            self.assertEqual((result.status, tuple(result.stdout.split())), (0, CASES))


if __name__ == "__main__":
    main()
