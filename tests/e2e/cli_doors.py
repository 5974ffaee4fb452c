"""A service's doors: run, info, replay, verify, digest; and what a start refuses."""
import json
import shutil
import subprocess
import sys

from cli_case import BLOCK, COUNTER, TOY, TOY_NEXT, ServiceCase, flip, process, segments, tree_digest
from workdir import main


class Doors(ServiceCase):
    def run_once(self, count=20, *options, program=TOY):
        """Start, add, SIGTERM; returns the answers."""
        child = self.start(*options, program=program)
        client = self.client()
        answers = [client.add(i % 3, i) for i in range(count)]
        client.close()
        self.assertEqual(child.terminate(), 0, child.err())
        return answers

    def test_what_was_answered_is_what_a_replay_says(self):
        answers = self.run_once()
        self.assertEqual(answers[4], "5 1 5")
        lines = self.door("replay", self.data, "--effects", "-", "--from-start", check=0).stdout.splitlines()
        effects = [json.loads(line) for line in lines if line.startswith("{")]
        self.assertEqual([bytes.fromhex(e["payload_hex"]).decode() for e in effects], answers)
        self.assertEqual([e["seq"] for e in effects], list(range(1, 21)))
        found = self.door("replay", self.data, "-o", "json", check=0).json()
        self.assertEqual((found["seq"], found["effects"]), (20, 20))

    def test_replay_gives_the_same_digests_with_and_without_snapshots(self):
        self.run_once()
        self.run_once()
        with_snapshot = self.door("replay", self.data, "-o", "json", check=0).json()
        without = self.door("replay", self.data, "--from-start", "-o", "json", check=0).json()
        self.assertTrue(with_snapshot["hydrate"]["from_snapshot"])
        self.assertFalse(without["hydrate"]["from_snapshot"])
        for key in ("seq", "state_digest", "effect_digest"):
            self.assertEqual(with_snapshot[key], without[key])

    def test_digest_to_a_seq_is_that_of_a_shorter_life(self):
        self.run_once(count=10)
        short = self.door("digest", self.data, "-o", "json", check=0).json()
        self.run_once(count=10)
        self.assertEqual(self.door("digest", self.data, "--to", "10", "-o", "json", check=0).json()["state_digest"],
                         short["state_digest"])
        longer = self.door("digest", self.data, check=0).stdout.strip()
        self.assertNotEqual(longer, short["state_digest"])
        self.assert_refused(self.door("digest", self.data, "--to", "21"), 1, "--to")

    def test_to_a_moment_is_the_state_of_then(self):
        self.run_once(count=10)
        self.run_once(count=10)
        entries = self.baton("journal", "dump", self.data, check=0).json_lines()
        for seq in (1, 10, 15, 20):
            moment = entries[seq - 1]["time_ns"]
            last = max(e["seq"] for e in entries if e["time_ns"] <= moment)
            then = self.door("replay", self.data, "--to", f"@{moment}", "-o", "json", check=0).json()
            same = self.door("replay", self.data, "--to", last, "-o", "json", check=0).json()
            self.assertEqual((then["seq"], then["state_digest"]), (last, same["state_digest"]))
        later = self.door("replay", self.data, "--to", "2400-01-01T00:00:00Z", "-o", "json", check=0).json()
        self.assertEqual(later["seq"], 20)
        before = self.door("replay", self.data, "--to", "1999-12-31T23:59:59Z", "-o", "json", check=0).json()
        self.assertEqual(before["seq"], 0)
        for wrong in ("2026-02-30T00:00:00Z", "@0", "1970-01-01T00:00:00Z"):  # moment 0: not the whole journal
            self.assert_refused(self.door("replay", self.data, "--to", wrong), 1, "--to")

    def test_two_builds_agree_on_the_schema_that_both_know(self):
        self.run_once()
        old = self.door("digest", self.data, check=0).stdout
        new = self.door("digest", self.data, "--digest-schema", "1", program=TOY_NEXT, check=0).stdout
        self.assertEqual(old, new)
        self.assert_refused(self.door("digest", self.data, "--digest-schema", "2"), 1)

    def test_verify_checks_journal_snapshots_and_replay(self):
        self.run_once(20, "--checkpoint-every", "5")
        found = self.door("verify", self.data, "-o", "json", check=0).json()
        self.assertTrue(found["ok"])
        self.assertEqual(found["replay"]["hydrate"]["replayed_entries"], 20)
        self.assertGreaterEqual(found["replay"]["hydrate"]["checkpoints_compared"], 4)
        self.assertEqual(found["snapshots"], 1)
        chunks = next((self.data / "snapshots").glob("*.chunks"))
        flip(chunks, 10)
        self.assert_refused(self.door("verify", self.data), 11, chunks.name)
        flip(chunks, 10)
        flip(segments(self.data / "journal")[0], BLOCK + 90)
        self.assert_refused(self.door("verify", self.data), 11, ".seg")

    def test_a_state_goes_round_through_every_schema_and_nothing_stays(self):
        self.run_once()
        before = tree_digest(self.data)
        work = self.root / "work"
        work.mkdir()
        found = self.door("verify", "--round-trip", self.data, "--work", work, "-o", "json", program=TOY_NEXT,
                          check=0).json()
        self.assertTrue(found["ok"])
        self.assertEqual([s["schema"] for s in found["schemas"]], [1, 2])
        for schema in found["schemas"]:
            digest = self.door("digest", self.data, "--digest-schema", schema["schema"], program=TOY_NEXT, check=0)
            self.assertEqual(schema["state_digest"], digest.stdout.strip())
            self.assertTrue(schema["canonical"])
            self.assertEqual(schema["rows"], sum(s["rows"] for s in schema["sections"]))
            self.assertEqual(schema["bytes"], sum(s["bytes"] for s in schema["sections"]))
        self.assertEqual(list(work.iterdir()), [])
        self.assertEqual(tree_digest(self.data), before)
        manifest = next((self.data / "snapshots").glob("*.manifest"))
        text = self.door("verify", "--round-trip", manifest, "--work", work, check=0).stdout
        self.assertIn("schema 1", text)
        flip(manifest.with_suffix(".chunks"), 10)
        self.assert_refused(self.door("verify", "--round-trip", manifest, "--work", work), 11, ".chunks")
        self.assertEqual(list(work.iterdir()), [])
        self.assert_refused(self.door("verify", "--round-trip", self.data / "control.sock.lock"), 1)
        self.assert_refused(self.door("verify", "--round-trip", self.data, "--work", self.root / "none"), 1, "--work")

    def test_what_the_new_build_writes_for_the_old_one_the_old_one_reads(self):
        self.run_once()
        out = self.root / "for-the-old-one"
        written = self.door("snapshot", self.data, "--schema", "1", "--out", out, "-o", "json", program=TOY_NEXT,
                            check=0).json()
        self.assertEqual((written["schema"], written["seq"]), (1, 20))
        self.assertEqual(written["state_digest"], self.door("digest", self.data, check=0).stdout.strip())
        manifest = next(out.glob("*.manifest"))
        read = self.door("verify", "--round-trip", manifest, "-o", "json", check=0).json()
        self.assertEqual(read["schemas"][0]["state_digest"], written["state_digest"])
        newest = self.root / "newest"
        self.door("snapshot", self.data, "--out", newest, program=TOY_NEXT, check=0)
        self.assert_refused(self.door("verify", "--round-trip", next(newest.glob("*.manifest"))), 1, "schema is 2")
        at = self.door("snapshot", self.data, "--to", "7", "--out", self.root / "at-7", "-o", "json", check=0).json()
        self.assertEqual((at["seq"], at["state_digest"]),
                         (7, self.door("digest", self.data, "--to", "7", check=0).stdout.strip()))
        self.assert_refused(self.door("snapshot", self.data, "--to", "21", "--out", out), 1, "ends at entry 20")
        self.assert_refused(self.door("snapshot", self.data, "--schema", "3", "--out", out, program=TOY_NEXT), 1, "3")
        self.assert_refused(self.door("snapshot", self.data), 1, "--out")
        self.assert_refused(self.door("snapshot", self.data, "--out", self.data / "snapshots"), 1, "its own")

    def test_info_tells_the_build_and_the_data(self):
        build = self.door("info", "-o", "json", program=TOY_NEXT, check=0).json()
        self.assertEqual((build["service"], build["version"]), ("toy", "1.1.0"))
        self.assertEqual(build["schema"], {"write": 2, "read_min": 1})
        self.run_once()
        data = self.door("info", self.data, "-o", "json", check=0).json()
        self.assertEqual(data["journal"]["counts"]["entries"], 20)
        self.assertEqual(data["snapshots"][0]["seq"], 20)
        self.assertIn("20 entries", self.door("info", self.data, check=0).stdout)

    def test_beside_a_living_service_no_damage_is_seen(self):
        child = self.start("--segment-size", "1MiB", "--snapshot-every", "300", "--checkpoint-every", "50",
                           "--retire", "yes", "--log-level", "error")
        client = self.client()
        asked = [self.spawn(TOY, "baton", door, self.data) for door in ("digest", "verify", "replay", "info") * 3]
        while any(door.running() for door in asked):
            for _ in range(32):
                client.send(1, 1)
            for _ in range(32):
                self.assertNotIn("error", client.receive())
        for door in asked:
            self.assertEqual(door.wait(), 0, door.err())
        self.assertEqual(child.terminate(), 0, child.err())
        self.door("verify", self.data, check=0)

    def test_what_is_retired_was_archived_first(self):
        archive = self.root / "archive"
        archive.mkdir()
        marks = self.root / "marks"
        careless = self.root / "careless"  # a parent that ignores SIGCHLD: a child of its child has no exit code
        careless.write_text(f"#!{sys.executable}\nimport os, signal, sys\n"
                            "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
                            f"os.execv('{TOY}', ['{TOY}'] + sys.argv[1:])\n")
        careless.chmod(0o755)
        for option, value in (("--archive-dir", archive),
                              ("--archive-command", f"echo >> '{marks}'; test $(wc -l < '{marks}') -gt 1 && "
                                                    f"cp -t '{archive}'")):
            child = self.start("--segment-size", "1MiB", "--snapshot-every", "100", "--retire", "yes",
                               option, value, "--log-level", "error", program=careless)
            client = self.client()
            oldest = segments(self.data / "journal")[0]
            while oldest.exists():
                client.add(1, 1)
            client.close()
            self.assertEqual(child.terminate(), 0, child.err())
            self.assertTrue((archive / oldest.name).exists())
        self.assertGreater(len(marks.read_text()), 1)  # the first try of the command failed
        for left in segments(self.data / "journal"):
            if not (archive / left.name).exists():
                shutil.copy(left, archive)
        found = self.baton("journal", "verify", archive, "-o", "json", check=0).json()["journals"][0]
        self.assertEqual(found["first_seq"], 1)
        self.assertEqual(found["entries"], found["last_seq"])
        both = process.run(TOY, "run", "--dir", self.data, "--listen", self.listen,
                           "--archive-dir", archive, "--archive-command", "true")
        self.assert_refused(both, 1, "--archive-command")

    def test_what_was_retired_is_no_damage(self):
        child = self.start("--segment-size", "1MiB", "--snapshot-every", "100", "--retire", "yes", "--log-level", "error")
        client = self.client()
        first = segments(self.data / "journal")[0]
        while first.exists():
            client.add(1, 1)  # one at a time: a block of its own
        self.assertEqual(child.terminate(), 0, child.err())
        self.door("verify", self.data, check=0)
        self.door("digest", self.data, check=0)
        before = tree_digest(self.data)
        self.assert_refused(self.door("replay", self.data, "--from-start"), 1, "retired")
        self.assert_refused(self.door("digest", self.data, "--to", "1"), 1, "retired")
        self.assertEqual(tree_digest(self.data), before)

    def test_the_journal_commands_take_the_directory_of_a_service_too(self):
        self.run_once()
        of_both = [self.baton("journal", "stat", d, "-o", "json", check=0).json() for d in (self.data, self.data / "journal")]
        for stat in of_both:  # how fast it was read, and what others leave free, differs
            del stat["replay"], stat["space"]["free_bytes"]
        self.assertEqual(*of_both)
        for word in ("verify", "dump", "repair"):
            self.assertEqual(self.baton("journal", word, self.data, check=0).stdout,
                             self.baton("journal", word, self.data / "journal", check=0).stdout)
        self.assertIn("20 entries", self.baton("journal", "verify", self.data, check=0).stdout)
        self.assert_refused(self.append(self.data, ["x"], "--service", "other", check=None), 1, "other")

    def test_doors_change_nothing(self):
        self.run_once()
        before = tree_digest(self.data)
        for door in ("info", "replay", "verify", "digest"):
            self.door(door, self.data, check=0)
        self.assertEqual(tree_digest(self.data), before)

    def test_doors_need_no_lock_and_do_not_disturb(self):
        child = self.start()
        client = self.client()
        for number in range(1, 6):
            self.assertEqual(client.add(1, 1), f"{number} 1 {number}")
            for door in ("info", "verify"):
                self.door(door, self.data, check=0)
            found = self.door("replay", self.data, "-o", "json", check=0).json()
            self.assertEqual(found["seq"], number)
            self.assertEqual(found["state_digest"], self.status()["state_digest"])
        self.assertEqual(child.terminate(), 0, child.err())

    def test_an_apply_that_is_not_what_it_was_is_found_and_named(self):
        self.run_once(20, "--checkpoint-every", "5", "--snapshot-at-drain", "no")
        before = tree_digest(self.data)
        result = self.door("replay", self.data, "--lie", "yes")
        self.assert_refused(result, 1)
        # By the first checkpoint at the latest; a mark of what was released may show it sooner.
        self.assertRegex(result.stderr, r"entries 1 to [1-5]: the .* digest is \w+ now, it was \w+")
        child = self.start("--lie", "yes", ready=False)
        self.assertEqual(child.wait(), 1)
        self.assertRegex(child.err(), r"\nbaton: .*: .*: ")
        self.assertEqual(tree_digest(self.data), before)

    def test_the_data_of_another_service_is_refused(self):
        self.run_once()
        before = tree_digest(self.data)
        result = process.run(COUNTER, "run", "--dir", self.data)
        self.assert_refused(result, 1, "toy", "counter")
        self.assertEqual(tree_digest(self.data), before)

    def test_a_damaged_journal_is_refused_at_start_and_left_alone(self):
        self.run_once(20, "--snapshot-at-drain", "no")
        self.run_once(20, "--snapshot-at-drain", "no")
        victim = segments(self.data / "journal")[0]
        flip(victim, BLOCK + 200)
        before = tree_digest(self.data)
        child = self.start(ready=False)
        self.assertEqual(child.wait(), 11, child.err())
        last = child.err().splitlines()[-1]
        self.assertIn(victim.name, last)
        self.assertRegex(last, r"^baton: .*offset \d+")
        self.assertEqual(tree_digest(self.data), before)

    def test_a_damaged_snapshot_falls_back_to_the_generation_before(self):
        self.run_once()
        self.run_once()
        newest = sorted((self.data / "snapshots").glob("*.chunks"))[-1]
        flip(newest, 20)
        child = self.start()
        self.assertEqual(child.ready["hydrate"]["snapshots_skipped"], 1)
        self.assertEqual(child.ready["hydrate"]["snapshot_seq"], 20)
        self.assertEqual(child.ready["seq"], 40)
        self.assertIn(newest.name, child.ready["hydrate"]["snapshot_skipped_why"] + child.err())
        self.assertEqual(child.terminate(), 0, child.err())

    def test_a_second_service_on_the_directory_is_refused_and_the_first_goes_on(self):
        first = self.start()
        client = self.client()
        second = process.run(TOY, "run", "--dir", self.data, "--control", str(self.root / "other.sock"))
        self.assert_refused(second, 7)
        self.assertEqual(client.add(2, 5), "1 2 5")
        self.assertEqual(first.terminate(), 0, first.err())

    def test_bad_options_are_refused_before_anything_is_made(self):
        for options, words in ((("--dri", "x"), ("--dri", "--dir")), ((), ("--dir",)),
                               (("--dir", self.data, "--io", "floppy"), ("--io",)),
                               (("--dir", self.data, "--keep-snapshots", "1"), ("generation",)),
                               (("--dir", self.data, "--drain-deadline", "5"), ("--drain-deadline",)),
                               (("--dir", self.data, "--ready-fd", "77"), ("--ready-fd", "77")),
                               (("--dir", self.data, "more"), ("more",)), (("--dir",), ("--dir",))):
            self.assert_refused(process.run(TOY, "run", *options), 1, *words)
        self.assertFalse(self.data.exists())
        for arguments, words in ((("rnu",), ("rnu", "run")), (("baton", "replya"), ("replya",)), (("baton",), ("verify",)),
                                 (("baton", "replay"), ("directory",)), (("baton", "info", "a", "b"), ("b",))):
            self.assert_refused(process.run(TOY, *arguments), 1, *words)

    def test_help_lists_every_option_with_its_default(self):
        text = process.run(TOY, "run", "--help", check=0).stdout
        for word in ("--dir", "--drain-deadline", "25s", "--listen", "--lie", "--snapshot-at-drain", "xample"):
            self.assertIn(word, text)
        for arguments in (("--help",), ("baton", "--help"), ("baton", "replay", "--help")):
            self.assertIn("replay", process.run(TOY, *arguments, check=0).stdout)
        self.assertEqual(process.run(TOY, "--version", check=0).stdout, "toy 1.0.0\n")

    def test_the_counter_of_the_readme_counts_across_kill_9(self):
        counted = 0
        for number in range(3):
            child = self.spawn(COUNTER, "run", "--dir", self.root / "counter", stdin=subprocess.PIPE)
            child.popen.stdin.write(b"line\n" * 10)
            child.popen.stdin.flush()
            counted += 10
            child.wait_for(f"{counted} lines\n")
            child.send(process.signal.SIGKILL if number < 2 else process.signal.SIGTERM)
            self.assertEqual(child.wait(), -9 if number < 2 else 0, child.err())

    def test_effects_that_can_not_be_written_are_an_error(self):
        self.run_once()
        self.assert_refused(self.door("replay", self.data, "--from-start", "--effects", "/dev/full"), 1, "/dev/full")
        self.assert_refused(self.door("replay", self.data, "--effects", self.root / "no" / "such"), 1)


if __name__ == "__main__":
    main()
