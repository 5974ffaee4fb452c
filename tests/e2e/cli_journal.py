"""`baton journal append|dump|verify|stat`: what goes in comes out, and what is acknowledged is durable."""
import pathlib
import shutil
import subprocess
import time

from cli_case import BACKENDS, BATON, CliCase, signal, uring_works
from workdir import main


class Journal(CliCase):
    def setUp(self):
        self.root = self.workdir()
        self.journal = self.root / "journal"
        self.backends = [b for b in BACKENDS if b != "uring" or uring_works(self.root)]

    def test_lines_become_entries_on_every_backend(self):
        for backend in self.backends:
            journal = self.root / backend
            result = self.append(journal, ["first", "", "third"], "--io", backend, "-o", "json")
            summary = result.json()
            self.assertEqual(summary["backend"], backend)
            self.assertEqual((summary["appended"], summary["first_seq"], summary["last_seq"]), (3, 1, 3))
            entries = self.baton("journal", "dump", journal, check=0).json_lines()
            self.assertEqual([e["payload"] for e in entries], ["first", "", "third"])
            self.assertEqual([e["seq"] for e in entries], [1, 2, 3])
            self.assertEqual({e["epoch"] for e in entries}, {1})
            times = [e["time_ns"] for e in entries]
            self.assertEqual(times, sorted(times))

    def test_any_bytes_survive_and_dump_payload_gives_them_back(self):
        lines = [bytes(b for b in range(256) if b != 10), b"\xff\xfe", "grün".encode(), b"", b"x" * 65536]
        text = b"\n".join(lines)  # the last line has no newline
        done = subprocess.run([BATON, "journal", "append", self.journal], input=text, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.stdout, b"appended 5 entries, seq 1 to 5\n")
        raw = subprocess.run([BATON, "journal", "dump", "--payload", self.journal], check=True,
                             stdout=subprocess.PIPE).stdout
        self.assertEqual(raw, text + b"\n")
        entries = self.baton("journal", "dump", self.journal, check=0).json_lines()
        self.assertIn("payload_base64", entries[0])
        self.assertEqual(entries[2]["payload"], "grün")

    def test_each_entry_is_acknowledged_once_and_in_order(self):
        result = self.append(self.journal, range(5000), "--ack")
        self.assertEqual(result.stdout.splitlines(), [f"durable {seq}" for seq in range(1, 5001)])
        again = self.append(self.journal, range(10), "--ack")
        self.assertEqual(again.stdout.splitlines(), [f"durable {seq}" for seq in range(5001, 5011)])

    def test_a_journal_goes_on_with_the_next_seq_and_a_higher_epoch(self):
        for round_number in range(3):
            self.append(self.journal, [round_number])
        entries = self.baton("journal", "dump", self.journal, check=0).json_lines()
        self.assertEqual([(e["seq"], e["epoch"]) for e in entries], [(1, 1), (2, 2), (3, 3)])

    def test_from_and_to_cut_the_dump(self):
        self.append(self.journal, range(1, 101))
        self.assertEqual(self.payloads(self.journal, "--from", "40", "--to", "42"), ["40", "41", "42"])
        self.assertEqual(self.payloads(self.journal, "--from", "101"), [])

    def test_to_a_moment_is_what_had_come_by_then(self):
        for round_number in range(3):
            self.append(self.journal, [f"{round_number}-{n}" for n in range(5)])
        entries = self.baton("journal", "dump", self.journal, check=0).json_lines()
        times = [e["time_ns"] for e in entries]
        for moment in (times[0] - 1, times[4], times[5] - 1, times[7], times[14], times[14] + 10**9):
            wanted = [e["payload"] for e in entries if e["time_ns"] <= moment]
            self.assertEqual(self.payloads(self.journal, "--to", f"@{moment}"), wanted)
            seconds, nanoseconds = divmod(moment, 10**9)
            utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09}Z"
            self.assertEqual(self.payloads(self.journal, "--to", utc), wanted)
        self.assert_refused(self.baton("journal", "dump", self.journal, "--to", "yesterday"), 1, "--to", "yesterday")
        self.assert_refused(self.baton("journal", "dump", self.journal, "--to", "@0"), 1, "--to", "@0")

    def test_a_line_that_is_too_long_is_refused_by_number_and_those_before_it_stay(self):
        result = self.append(self.journal, ["a", "b", "c" * 65537, "d"], "--ack", check=None)
        self.assert_refused(result, 1, "line 3", "65536")
        self.assertEqual(result.stdout, "durable 1\ndurable 2\n")
        self.assertEqual(self.payloads(self.journal), ["a", "b"])

    def test_sigterm_finishes_what_was_read_as_whole_lines(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            journal = self.root / f"by-{number}"
            child = self.spawn(BATON, "journal", "append", "--ack", journal, stdin=subprocess.PIPE)
            child.popen.stdin.write(b"one\ntwo\n")
            child.popen.stdin.flush()
            child.wait_for("durable 2\n")
            child.popen.stdin.write(b"half a li")
            child.popen.stdin.flush()
            child.send(number)
            self.assertEqual(child.wait(), 0, child.err())
            self.assertEqual(self.payloads(journal), ["one", "two"])
            self.assertTrue(self.verify(journal)["journals"][0]["closed"])

    def verify(self, *journals, check=0):
        return self.baton("journal", "verify", "-o", "json", *journals, check=check).json()

    def test_absent_and_empty_journals_are_empty(self):
        (self.root / "empty").mkdir()
        for name in ("absent", "empty"):
            found = self.verify(self.root / name)
            self.assertEqual(found["journals"][0]["status"], "empty")
            self.assertEqual(self.payloads(self.root / name), [])
            self.assertEqual(self.baton("journal", "stat", self.root / name, "-o", "json", check=0).json()["entries"], 0)
        self.assertFalse((self.root / "absent").exists())

    def test_stat_counts_what_was_appended(self):
        self.append(self.journal, ["12345"] * 7, "--service", "toy")
        stat = self.baton("journal", "stat", self.journal, "-o", "json", check=0).json()
        self.assertEqual((stat["entries"], stat["payload_bytes"], stat["last_seq"]), (7, 35, 7))
        self.assertEqual(stat["service"], "toy")
        self.assertIn("entries", self.baton("journal", "stat", self.journal, check=0).stdout)

    def test_stat_tells_segments_epochs_rates_space_and_how_commits_are_made(self):
        for _ in range(3):
            self.append(self.journal, range(2000))
        stat = self.baton("journal", "stat", self.journal, "-o", "json", check=0).json()
        entries = self.baton("journal", "dump", self.journal, check=0).json_lines()
        segments = stat["segment_list"]
        self.assertEqual((stat["epochs"], stat["segments"], len(segments)), (3, 3, 3))
        self.assertEqual([s["first_seq"] for s in segments], [1, 2001, 4001])
        self.assertEqual({s["state"] for s in segments}, {"accepted"})
        files = list(pathlib.Path(self.journal).glob("*.seg"))
        self.assertEqual(stat["space"]["segments_bytes"], sum(f.stat().st_size for f in files))
        self.assertEqual(stat["space"]["used_bytes"], sum(s["used_bytes"] for s in segments))
        others = [f for f in pathlib.Path(self.journal).iterdir() if f.is_file() and f not in files]
        self.assertEqual(stat["space"]["other_bytes"], sum(f.stat().st_size for f in others))
        self.assertGreater(stat["space"]["free_bytes"], 0)
        span = (entries[-1]["time_ns"] - entries[0]["time_ns"]) / 1e9
        self.assertAlmostEqual(stat["times"]["span_seconds"], span, places=6)
        self.assertAlmostEqual(stat["times"]["entries_per_second"], 6000 / span, delta=6000 / span / 1000)
        recent = (entries[-1]["time_ns"] - entries[4000]["time_ns"]) / 1e9
        if recent > 0:
            self.assertAlmostEqual(stat["times"]["recent_entries_per_second"], 2000 / recent,
                                   delta=2000 / recent / 1000)
        self.assertGreater(stat["replay"]["predicted_read_seconds"], 0)
        self.assertAlmostEqual(stat["replay"]["read_bytes_per_second"] * stat["replay"]["predicted_read_seconds"],
                               stat["space"]["used_bytes"], delta=1)
        self.assertIn("RWF_DSYNC", stat["commit_primitive"])
        text = self.baton("journal", "stat", self.journal, check=0).stdout
        for word in ("commit_primitive", "predicted_read_seconds", "accepted", files[0].stem):
            self.assertIn(word, text)

    def test_another_service_is_refused(self):
        self.append(self.journal, ["x"], "--service", "toy")
        self.assert_refused(self.append(self.journal, ["y"], "--service", "other", check=None), 1, "toy", "other")
        self.assertEqual(self.payloads(self.journal), ["x"])

    def test_a_copy_that_went_on_continues_the_original_and_a_stranger_does_not(self):
        self.append(self.journal, ["a", "b"])
        successor = self.root / "successor"
        shutil.copytree(self.journal, successor)
        self.append(successor, ["c"])
        found = self.verify(self.journal, successor)
        self.assertTrue(found["continues"][0]["continues"])
        stranger = self.root / "stranger"
        self.append(stranger, ["a", "b", "c"])
        result = self.baton("journal", "verify", self.journal, stranger)
        self.assert_refused(result, 1)

    def test_a_closed_pipe_on_stdout_is_an_error_and_what_was_read_is_safe(self):
        child = subprocess.Popen([BATON, "journal", "append", "--ack", self.journal], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        child.stdout.close()
        child.stdin.write(b"one\ntwo\n")
        child.stdin.close()
        error = child.stderr.read()
        child.stderr.close()
        child.wait()
        self.assertEqual(child.returncode, 1, error)
        self.assertIn(b"stdout", error)
        self.assertEqual(self.payloads(self.journal), ["one", "two"])

    def test_usage_errors_change_nothing_and_name_what_is_wrong(self):
        for arguments, words in (
                (("frobnicate",), ("frobnicate", "journal")),
                (("journal", "frobnicate"), ("frobnicate", "append")),
                (("journal", "append"), ("directory",)),
                (("journal", "append", "a", "b"), ("b",)),
                (("journal", "append", "--io", "floppy", self.journal), ("--io", "floppy")),
                (("journal", "append", "--mode", "maybe", self.journal), ("--mode",)),
                (("journal", "append", "--type", "70000", self.journal), ("--type",)),
                (("journal", "append", "--frobnicate", self.journal), ("--frobnicate",)),
                (("journal", "dump", "--from", "x", self.journal), ("--from",)),
                (("journal", "verify", "--accept-loss", self.journal), ("repair",)),
                (("journal", "stat", "-o", "xml", self.journal), ("xml",)),
                (("service", "status"), ("socket",)),
                (("service", "frobnicate", "x"), ("frobnicate",))):
            self.assert_refused(self.baton(*arguments), 1, *words)
        self.assertFalse(self.journal.exists())

    def test_every_command_has_help_with_examples(self):
        for arguments in ((), ("journal",), ("journal", "append"), ("journal", "dump"), ("journal", "verify"),
                          ("journal", "stat"), ("journal", "repair"), ("service",)):
            result = self.baton(*arguments, "--help", check=0)
            self.assertIn("baton", result.stdout)
            if arguments != ("journal",):
                self.assertIn("xample", result.stdout, arguments)
        self.assertRegex(self.baton("--version", check=0).stdout, r"^baton \d+\.\d+\.\d+\n$")


if __name__ == "__main__":
    main()
