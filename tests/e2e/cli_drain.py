"""SIGTERM, SIGKILL and everything between: what was answered is there afterwards, and the drain says what it reached (H1)."""
import json
import os
import random
import select

from cli_case import TOY, TOY_NEXT, ServiceCase, process, signal, test_program
from workdir import connect_unix, main, seed, wait_until

STEPS = ["intake stopped", "finished", "sent", "handed over", "closing", "closed"]


class Drain(ServiceCase):
    def start_with_report(self, *options, program=TOY):
        reader, writer = os.pipe()
        ready_reader, ready_writer = os.pipe()
        child = self.spawn(program, "run", "--dir", self.data, "--listen", self.listen, "--report-fd", writer,
                           "--ready-fd", ready_writer, *options, pass_fds=(writer, ready_writer))
        for fd in (writer, ready_writer):
            os.close(fd)
        for fd in (reader, ready_reader):
            self.addCleanup(os.close, fd)
        child.report_fd = reader
        child.ready = self.read_line_json(ready_reader, child)
        return child

    def report(self, child):
        return self.read_line_json(child.report_fd, child)

    def steps(self, report):
        return [step["step"] for step in report["drain"]["steps"]]

    def effects(self):
        lines = self.door("replay", self.data, "--from-start", "--effects", "-", program=TOY_NEXT, check=0).stdout
        return [bytes.fromhex(json.loads(line)["payload_hex"]).decode() for line in lines.splitlines()
                if line.startswith("{")]

    def test_sigterm_reaches_every_step_in_order(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            child = self.start_with_report()
            client = self.client()
            answers = [client.add(0, 1) for _ in range(10)]
            self.assertEqual(len(answers), 10)
            child.send(number)
            self.assertEqual(child.wait(), 0, child.err())
            report = self.report(child)
            self.assertEqual(self.steps(report), STEPS)
            times = [step["ms"] for step in report["drain"]["steps"]]
            self.assertEqual(times, sorted(times))
            self.assertEqual((report["drain"]["outcome"], report["drain"]["snapshot"]), ("clean", "taken"))
            self.assertTrue(report["ok"] and report["drain"]["handover_durable"] and report["drain"]["all_sent"])
            for step in STEPS:
                self.assertIn(step, child.err())
        self.assertEqual(self.door("verify", self.data, "-o", "json", check=0).json()["snapshots"], 2)

    def test_a_quiet_service_drains_too(self):
        child = self.start_with_report()
        self.assertEqual(child.terminate(), 0, child.err())
        self.assertEqual(self.report(child)["drain"]["snapshot"], "current")
        again = self.start()
        self.assertEqual((again.ready["seq"], again.ready["epoch"]), (0, 2))

    def test_under_load_all_that_was_answered_is_there_and_the_next_goes_on(self):
        rng = random.Random(seed())
        answered = []
        for number in range(6):
            child = self.start(program=(TOY, TOY_NEXT)[number % 2])
            self.assertEqual(child.ready["epoch"], number + 1)
            client = self.client()
            answered += self.flood(client, child, rng.randrange(20, 400),
                                   rng.choice((signal.SIGTERM, signal.SIGKILL)))
            client.close()
        effects = self.effects()
        at = -1
        for answer in answered:  # in order, each once
            at = effects.index(answer, at + 1)
        self.assertEqual(len(set(effects)), len(effects))
        self.assertEqual([int(e.split()[0]) for e in effects], list(range(1, len(effects) + 1)))
        self.door("verify", self.data, check=0)

    def flood(self, client, child, stop_after, number):
        """Keep 16 in flight; after stop_after answers send the signal; return all the answers that ever came."""
        answers, in_flight = [], 0
        signalled = False
        while True:
            while in_flight < 16 and not signalled:
                client.send(in_flight % 5, 1)
                in_flight += 1
            answer = client.receive()
            if answer is None:
                break
            if answer.startswith("error"):
                self.assertEqual(answer, "error BATON_E_SEALED")
            else:
                answers.append(answer)
            in_flight -= 1
            if len(answers) >= stop_after and not signalled:
                signalled = True
                child.send(number)
            if signalled and in_flight == 0 and number == signal.SIGTERM:
                break
        self.assertEqual(child.wait(), 0 if number == signal.SIGTERM else -9, child.err())
        return answers

    def test_a_second_sigterm_changes_nothing(self):
        child = self.start_with_report("--never-sent", "yes", "--drain-deadline", "3s")
        self.client().add(0, 1)
        for _ in range(3):
            child.send(signal.SIGTERM)
        child.wait_for("drain.begin", stream="stderr")
        child.send(signal.SIGTERM)
        child.wait_for("drain.already_begun", stream="stderr")
        self.assertEqual(child.wait(), 0, child.err())
        self.assertEqual(child.err().count("drain.begin "), 1)
        self.assertEqual(self.steps(self.report(child)), STEPS)

    def test_a_client_that_does_not_read_can_not_hold_it_up(self):
        child = self.start_with_report("--never-sent", "yes", "--drain-deadline", "2s")
        self.client().add(0, 1)
        self.assertEqual(child.terminate(), 0, child.err())
        report = self.report(child)
        self.assertFalse(report["drain"]["all_sent"])
        self.assertTrue(report["drain"]["handover_durable"])

    def test_while_it_drains_entries_are_refused_and_status_answers(self):
        child = self.start("--never-sent", "yes", "--drain-deadline", "60s")
        client = self.client()
        client.add(0, 1)
        child.send(signal.SIGTERM)
        child.wait_for("reached=finished", stream="stderr")
        self.assertEqual(client.add(0, 1), "error BATON_E_SEALED")
        status = self.status()
        self.assertEqual((status["phase"], status["sealed"], status["seq"]), ("draining", True, 1))
        self.assertEqual([s["step"] for s in status["drain"]["steps"]], ["intake stopped", "finished"])
        self.assert_refused(self.service("snapshot"), 1, "drains")
        self.assert_refused(self.service("finalize"), 1, "drains")
        child.kill()
        self.assertEqual(self.start().ready["seq"], 1)

    def test_service_drain_waits_until_the_process_is_gone(self):
        child = self.start()
        self.client().add(0, 1)
        answer = self.service("drain", "-o", "json", check=0).json()
        self.assertEqual(answer["drain"]["outcome"], "clean")
        self.assertEqual([s["step"] for s in answer["drain"]["steps"]], STEPS)
        readable, _, _ = select.select([os.pidfd_open(child.pid)], [], [], 0)
        self.assertTrue(readable, "it still runs")
        self.assertEqual(child.wait(), 0)

    def test_two_that_ask_for_the_drain_both_get_the_report(self):
        child = self.start("--never-sent", "yes", "--drain-deadline", "2s")
        asking = [self.spawn(process.program("baton"), "service", "drain", self.control, "-o", "json") for _ in range(3)]
        for one in asking:
            self.assertEqual(one.wait(), 0, one.err())
            self.assertEqual(json.loads(one.out())["drain"]["outcome"], "clean")
        self.assertEqual(child.wait(), 0)

    def test_a_drain_asked_for_and_not_waited_for_happens(self):
        import socket
        child = self.start()
        with socket.socket(socket.AF_UNIX) as fire:
            connect_unix(fire, self.control)
            fire.sendall(b'{"baton":1,"do":"drain"}\n')
        self.assertEqual(child.wait(), 0, child.err())

    def test_a_kill_while_it_is_asked_to_drain_is_told(self):
        child = self.start("--never-sent", "yes", "--drain-deadline", "60s")
        asking = self.spawn(process.program("baton"), "service", "drain", self.control)
        child.wait_for("reached=finished", stream="stderr")
        child.kill()
        self.assertEqual(asking.wait(), 1)
        self.assertIn("without a drain report", asking.err())

    def test_without_a_snapshot_at_drain_none_is_taken(self):
        child = self.start_with_report("--snapshot-at-drain", "no")
        self.client().add(0, 1)
        self.assertEqual(child.terminate(), 0)
        self.assertEqual(self.report(child)["drain"]["snapshot"], "off")
        self.assertFalse(list(self.data.glob("snapshots/*.manifest")))
        self.assertEqual(self.start().ready["seq"], 1)

    def test_a_newer_build_stays_pinned_until_it_is_finalized(self):
        child = self.start()
        self.client().add(7, 5)
        digest = self.status()["state_digest"]
        self.assertEqual(child.terminate(), 0)

        child = self.start(program=TOY_NEXT)
        status = self.status()
        self.assertEqual((status["schema"], status["state_digest"]), (1, digest))
        client = self.client()
        self.assertEqual(client.add(7, 0, "reset "), "error BATON_E_SCHEMA")
        self.assertEqual(self.service("finalize", "-o", "json", check=0).json()["schema"], 2)
        self.assertEqual(self.status()["schema"], 2)
        self.assertEqual(client.add(7, 0, "reset "), "2 7 0")
        self.assertEqual(child.terminate(), 0, child.err())

        back = self.start(program=TOY, ready=False)
        self.assertEqual(back.wait(), 1)
        self.assertRegex(back.err().splitlines()[-1], r"^baton: .*: .*: ")
        again = self.start(program=TOY_NEXT)
        self.assertEqual((self.status()["schema"], again.ready["seq"]), (2, 2))

    def test_before_finalize_the_older_build_can_come_back(self):
        for number, program in enumerate((TOY, TOY_NEXT, TOY, TOY_NEXT)):
            child = self.start(program=program)
            self.assertEqual(self.client().add(1, 1), f"{number + 1} 1 {number + 1}")
            self.assertEqual(child.terminate(), 0, child.err())
        self.door("verify", self.data, check=0)

    def test_a_disk_that_hangs_does_not_hold_the_process(self):
        hang = self.root / "hang"
        preload = {"LD_PRELOAD": test_program("toy-hang.so"), "BATON_TEST_HANG": hang}
        if os.environ.get("BATON_SANITIZE"):
            self.skipTest("a sanitizer does not go with another preloaded library")
        child = self.spawn(TOY, "run", "--dir", self.data, "--listen", self.listen, "--io", "threads",
                           "--drain-deadline", "500ms", env=preload)
        child.wait_for("service.ready", stream="stderr")
        self.assertEqual(self.client().add(0, 1), "1 0 1")
        hang.write_text("")
        self.assertEqual(child.terminate(), 1, child.err())
        self.assertIn("baton: drain: it hangs in step", child.err())
        hang.unlink()
        self.assertEqual(self.start().ready["seq"], 1)

    def test_a_successor_that_waited_for_the_lock_knows_the_last_snapshot(self):
        child = self.start()
        client = self.client()
        for _ in range(5):
            client.add(0, 1)
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        successor = self.spawn(TOY, "run", "--dir", self.data, "--listen", self.socket_path("next"),
                               "--ready-fd", writer, pass_fds=(writer,))
        os.close(writer)
        lock = str(self.data / "journal" / "LOCK")
        wait_until(lambda: lock in self.files_of(successor.pid), "it to wait for the lock")
        successor.send(signal.SIGSTOP)  # it waits for 5 s only, and the drain may take longer
        self.assertEqual(child.terminate(), 0, child.err())
        successor.send(signal.SIGCONT)
        hydrate = self.read_line_json(reader, successor)["hydrate"]
        self.assertEqual((hydrate["snapshot_seq"], hydrate["replayed_entries"]), (5, 0))

    def files_of(self, pid):
        found = []
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except FileNotFoundError:
                pass
        return found

    def test_sigterm_before_it_is_ready_drains_at_once(self):
        child = self.spawn(TOY, "run", "--dir", self.data, "--listen", self.listen)
        wait_until(lambda: self.blocks_sigterm(child.pid), "it to take the signal")
        child.send(signal.SIGTERM)
        self.assertEqual(child.wait(), 0, child.err())
        self.door("verify", self.data, check=0)

    def blocks_sigterm(self, pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            mask = next(int(line.split()[1], 16) for line in file if line.startswith("SigBlk"))
        return mask >> (signal.SIGTERM - 1) & 1


if __name__ == "__main__":
    main()
