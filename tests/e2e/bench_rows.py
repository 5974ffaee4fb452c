"""What `journal-bench` prints: the outside contract, not how fast anything is."""
import json
import subprocess
import sys
import xml.dom.minidom

import process
from workdir import SOURCE, TestCase, main

FIELDS = {"suite", "case", "backend", "metric", "unit", "value", "better", "reference",
          "reference_value", "ratio"}
LATENCIES = ("p50", "p99", "p99.9", "max")


class BenchRows(TestCase):
    def lines(self, backend, case, *more):
        result = process.run(process.program("journal-bench"), "--dir", self.workdir(), "--smoke", "--json", "-",
                             "--io", backend, "--case", case, *more, timeout=100)
        if backend == "uring" and result.status != 0 and "io_uring" in result.stderr:
            self.skipTest("io_uring is denied here")
        self.assertEqual(result.status, 0, result)
        lines = result.json_lines()
        return lines[0], lines[1:]

    def check_row(self, row, backend):
        self.assertEqual(set(row), FIELDS)
        self.assertEqual((row["suite"], row["backend"]), ("journal", backend))
        self.assertIn(row["better"], ("lower", "higher"))
        self.assertGreater(row["value"], 0)
        if row["reference"] is None:
            self.assertIsNone(row["ratio"])
        else:
            self.assertAlmostEqual(row["ratio"] / (row["value"] / row["reference_value"]), 1, places=5)

    def check(self, backend, case, expected, *more):
        """expected: (case, metric, reference) of rows that must be there."""
        header, rows = self.lines(backend, case, *more)
        self.assertNotIn("case", header)
        for key in ("kernel", "cpu", "device_write_cache", "commit_primitive", "build"):
            self.assertTrue(header[key], key)
        for row in rows:
            self.check_row(row, backend)
        seen = {(row["case"], row["metric"], row["reference"]) for row in rows}
        self.assertEqual(set(expected) - seen, set())
        return rows

    def test_one_in_flight_has_the_contract_s_rows_on_both_backends(self):
        for backend in ("threads", "uring"):
            with self.subTest(backend):
                self.check(backend, "append_one_in_flight",
                           [("append_one_in_flight", metric, reference) for metric in LATENCIES
                            for reference in ("raw", "raw again")])

    def test_closed_loops_compare_entries_a_second_with_the_same_writes_made_raw(self):
        for case in ("append_128_in_flight", "append_1024_in_flight"):
            self.check("threads", case, [(case, "entries_per_s", reference)
                                         for reference in ("raw", "raw again", "raw filled")])

    def test_flat_out_has_bytes_entries_and_processor_time_and_what_making_segments_costs(self):
        self.check("threads", "append_peak", [("append_peak", "bytes_per_s", "raw"),
                                              ("append_peak", "entries_per_s", "raw payload"),
                                              ("append_peak", "cpu_ns_per_entry", None),
                                              ("append_sustained", "bytes_per_s", "raw")])

    def test_an_open_loop_has_latencies_at_three_rates(self):
        self.check("threads", "append_open_loop", [(f"append_open_loop_{rate}", metric, "raw")
                                                   for rate in ("10k", "100k", "1m") for metric in LATENCIES])

    def test_the_scan_has_rows_for_verify_and_replay(self):
        self.check("threads", "recover_scan", [("recover_scan", "bytes_per_s", "raw"),
                                               ("recover_scan_replay", "bytes_per_s", "raw")])

    def test_the_lag_of_a_reader_in_another_process_stands_beside_a_ping(self):
        self.check("threads", "tail_lag", [("tail_lag", metric, "raw ping") for metric in LATENCIES])

    def test_curves_can_be_drawn(self):
        curves = self.workdir() / "curves"
        self.check("threads", "append_one_in_flight", [], "--curves", curves)
        points = [json.loads(line) for line in curves.read_text().splitlines()]
        self.assertEqual({point["side"] for point in points}, {"baton", "raw"})
        points += [{"curve": "throughput", "backend": "threads", "side": side, "write_bytes": size << 10, "depth": depth,
                    "bytes_per_s": 1e6 * size * depth}
                   for side in ("raw", "baton") for size in (64, 1024) for depth in (1, 8)]
        curves.write_text("".join(json.dumps(point) + "\n" for point in points))
        drawing = curves.with_suffix(".svg")
        result = subprocess.run([sys.executable, SOURCE / "bench" / "plot.py", curves, drawing],
                                capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(result.returncode, 0, result)
        svg = xml.dom.minidom.parse(str(drawing)).documentElement
        self.assertEqual(svg.tagName, "svg")
        self.assertEqual(len(svg.getElementsByTagName("polyline")), 2 + 4)
        self.assertIn("prefers-color-scheme: dark", drawing.read_text())

    def test_usage_errors_exit_1_and_leave_nothing(self):
        directory = self.workdir()
        self.assertEqual(process.run(process.program("journal-bench")).status, 1)
        for wrong in (("--io", "tape"), ("--case", "teleport")):
            result = process.run(process.program("journal-bench"), "--dir", directory, *wrong)
            self.assertEqual(result.status, 1)
            self.assertIn("Usage:", result.stderr)
        self.assertEqual(list(directory.iterdir()), [])

    def test_the_names_of_the_cases_are_listed(self):
        result = process.run(process.program("journal-bench"), "--list")
        self.assertEqual(result.status, 0)
        self.assertIn("append_peak", result.stdout.split())


if __name__ == "__main__":
    main()
