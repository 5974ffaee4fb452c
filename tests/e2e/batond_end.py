"""batond's own end: it outlives the drain of its service, for a bounded time, and tells systemd."""
import json
import os
import socket

from batond_case import BatondCase, FakeService, process, status_line, wait_until
from cli_case import signal
from workdir import DEADLINE_S, main

CLEAN, UNCLEAN, TOO_LATE = 0, 1, 8
LONG = ("--term-grace", "600s", "--term-deadline", "600s", "--linger", "600s")


class Term(BatondCase):
    def fetch_report(self):
        """After it batond may go at once."""
        return wait_until(lambda: self.health()["last_drain"], "the report")

    def test_alone_it_leaves_the_service_alone(self):
        child = self.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.sidecar("--term-grace", "50ms")
            self.ready()
            self.batond.send(number)
            self.assertEqual(self.batond.wait(), CLEAN)
        self.assertEqual(self.status()["phase"], "running")
        self.assertTrue(child.running())

    def test_without_a_service_it_goes_at_once(self):
        self.sidecar(*LONG)
        self.assertEqual(self.batond.terminate(), CLEAN)

    def test_while_it_ends_it_is_not_ready_and_answers(self):
        self.start()
        self.sidecar(*LONG)
        self.ready()
        self.batond.send(signal.SIGTERM)
        wait_until(lambda: self.get("/readyz").code == 503, "the end of readiness")
        self.assertEqual((self.get("/livez").code, self.health()["batond"]["ending"]), (200, True))
        self.assertTrue(self.batond.running())

    def test_a_drain_that_comes_with_it_is_outlived_until_its_report_was_fetched(self):
        child = self.start("--never-sent", "yes", "--drain-deadline", "4s")
        self.sidecar(*LONG)
        self.ready()
        self.batond.send(signal.SIGTERM)
        child.send(signal.SIGTERM)
        self.assertEqual(child.wait(), 0)
        self.fetch_report()
        self.assertEqual(self.batond.wait(), CLEAN)
        self.assertIn("batond.drain_end outcome=clean", self.batond.err())

    def test_a_drain_that_is_over_before_it_is_looked_at_is_reported_all_the_same(self):
        child = self.start()
        self.sidecar(*LONG)
        self.ready()
        self.assertEqual(child.terminate(), 0)
        report = self.fetch_report()
        self.assertEqual((report["instance"]["pid"], report["drain"]["outcome"]), (child.pid, "clean"))
        child = self.start()
        self.ready()
        self.batond.send(signal.SIGTERM)
        self.batond.wait_for("batond.ending", "stderr")
        self.assertEqual(child.terminate(), 0)
        wait_until(lambda: self.health()["last_drain"]["instance"]["pid"] == child.pid, "the report")
        self.assertEqual(self.batond.wait(), CLEAN)

    def test_an_end_that_was_no_drain_is_not_called_one(self):
        child = self.start()
        self.sidecar(*LONG)
        self.ready()
        child.kill()
        wait_until(lambda: self.health()["phase"] == "absent", "its absence")
        self.assertIsNone(self.health()["last_drain"])
        self.assertEqual(self.batond.terminate(), CLEAN)

    def test_nobody_has_to_fetch_the_report(self):
        child = self.start()
        self.sidecar("--term-grace", "600s", "--term-deadline", "600s", "--linger", "50ms")
        self.ready()
        self.batond.send(signal.SIGTERM)
        self.batond.wait_for("batond.ending", "stderr")
        child.send(signal.SIGTERM)
        self.assertEqual((child.wait(), self.batond.wait()), (0, CLEAN))

    def test_a_drain_of_which_no_report_comes_is_not_clean(self):
        child = self.start("--never-sent", "yes", "--drain-deadline", "600s")
        self.sidecar("--term-grace", "600s", "--term-deadline", "600s", "--linger", "0s")
        self.ready()
        child.send(signal.SIGTERM)
        wait_until(lambda: self.health()["phase"] == "draining", "the drain")
        self.batond.send(signal.SIGTERM)
        self.batond.wait_for("batond.ending", "stderr")
        child.kill()
        self.assertEqual(self.batond.wait(), UNCLEAN)

    def test_it_does_not_wait_longer_than_its_deadline(self):
        child = self.start("--never-sent", "yes", "--drain-deadline", "600s")
        self.sidecar("--term-deadline", "300ms", "--term-grace", "0s")
        self.ready()
        child.send(signal.SIGTERM)
        wait_until(lambda: self.health()["phase"] == "draining", "the drain")
        self.assertEqual(self.batond.terminate(), TOO_LATE)

    def test_a_service_that_hangs_does_not_hold_it_longer_than_its_grace(self):
        child = self.start()
        self.sidecar("--answer-timeout", "100ms", "--term-grace", "300ms", "--term-deadline", "600s", patient=False)
        self.ready()
        child.send(signal.SIGSTOP)
        wait_until(lambda: self.health()["phase"] == "silent", "silence")
        self.assertEqual(self.batond.terminate(), CLEAN)

    def test_a_second_signal_changes_nothing(self):
        child = self.start("--never-sent", "yes", "--drain-deadline", "4s")
        self.sidecar(*LONG)
        self.ready()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            self.batond.send(number)
        wait_until(lambda: self.health()["batond"]["ending"], "the end to begin")
        child.terminate()
        self.fetch_report()
        self.assertEqual(self.batond.wait(), CLEAN)
        self.assertEqual(self.batond.err().count("batond.ending"), 1)


class Older(BatondCase):
    def test_of_a_service_that_does_not_know_the_word_a_drain_is_followed_when_it_is_seen(self):
        phase = ["running"]

        def answer(request):
            instance = json.loads(status_line())["instance"]
            if request["do"] == "status":
                return status_line(phase=phase[0])
            if request["do"] != "drain":
                return json.dumps({"ok": False, "error": {"status": "BATON_E_UNKNOWN_TYPE"}, "instance": instance}).encode() + b"\n"
            report = {"ok": True, "do": "drain", "instance": instance}
            return b"".join(json.dumps(line).encode() + b"\n" for line in ({**report, "accepted": True, "already": True},
                                                                          {**report, "drain": {"outcome": "clean"}}))
        fake = FakeService(self, answer)
        self.sidecar(service=fake.path)
        self.ready()
        wait_until(lambda: "await_drain" in [asked["do"] for asked in fake.asked], "the newer word")
        for _ in range(5):
            self.assertEqual(self.get("/readyz").code, 200)
        self.assertNotIn("drain", [asked["do"] for asked in fake.asked])
        phase[0] = "draining"
        report = wait_until(lambda: self.health()["last_drain"], "the report")
        self.assertEqual(report["drain"], {"outcome": "clean"})
        drains = [asked for asked in fake.asked if asked["do"] == "drain"]
        self.assertEqual([asked["nonce"] for asked in drains], ["f" * 32])
        self.assertEqual([asked["do"] for asked in fake.asked].count("await_drain"), 1)


class DrainOnTerm(BatondCase):
    def test_the_service_is_drained_and_its_end_waited_for(self):
        child = self.start()
        self.client().add(1, 1)
        self.sidecar("--drain-on-term", "--linger", "0s")
        self.ready()
        self.assertEqual(self.batond.terminate(), CLEAN)
        self.assertEqual(child.wait(), 0)
        self.assertIn("drain.begin because=\"control socket\"", child.err())
        self.assertIn("batond.drain_end outcome=clean", self.batond.err())

    def test_one_that_hydrates_is_drained_when_it_runs(self):
        phase = ["hydrating"]
        fake = FakeService(self, lambda request: status_line(phase=phase[0]) if request["do"] == "status" else (
            b'{"baton":1,"ok":true,"do":"drain","accepted":true}\n{"baton":1,"ok":true,"do":"drain","drain":{}}\n'))
        self.sidecar("--drain-on-term", "--linger", "0s", service=fake.path)
        wait_until(lambda: self.health()["phase"] == "hydrating", "the service")
        self.batond.send(signal.SIGTERM)
        self.batond.wait_for("batond.ending", "stderr")
        self.assertNotIn("drain", [asked["do"] for asked in fake.asked])
        phase[0] = "running"
        self.assertEqual(self.batond.wait(), CLEAN)
        drains = [asked for asked in fake.asked if asked["do"] == "drain"]
        self.assertEqual([asked["nonce"] for asked in drains], ["f" * 32])

    def test_one_that_refuses_or_hangs_up_is_an_error(self):
        for said in (b'{"baton":1,"ok":false,"error":{"status":"BATON_E_REFUSED"}}\n', None):
            fake = FakeService(self, lambda request, said=said: status_line() if request["do"] == "status" else said)
            self.sidecar("--drain-on-term", "--linger", "0s", service=fake.path)
            self.ready()
            self.assertEqual(self.batond.terminate(), UNCLEAN)

    def test_one_that_does_not_obey_is_given_up_at_the_deadline(self):
        fake = FakeService(self, lambda request: status_line() if request["do"] == "status" else ...)
        self.sidecar("--drain-on-term", "--term-deadline", "300ms", service=fake.path)
        self.ready()
        self.assertEqual(self.batond.terminate(), TOO_LATE)


class Systemd(BatondCase):
    """What sd_notify would send."""

    def supervisor(self, abstract=False):
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(notify.close)
        notify.settimeout(DEADLINE_S)
        path = f"@baton-test-{os.getpid()}" if abstract else self.socket_path("notify")
        notify.bind("\0" + path[1:] if abstract else path)
        return notify, path

    def test_ready_status_and_stopping_are_told(self):
        for abstract in (False, True):
            notify, path = self.supervisor(abstract)
            self.sidecar("--linger", "0s", env={"NOTIFY_SOCKET": path})
            self.assertEqual(notify.recv(4096), b"READY=1")
            self.assertEqual(notify.recv(4096), b"STATUS=service : absent")
            child = self.start()
            texts = []
            while b"STATUS=toy 1.0.0: running, ready" not in texts:
                texts.append(notify.recv(4096))
            self.batond.send(signal.SIGTERM)
            while b"STOPPING=1" not in texts:
                texts.append(notify.recv(4096))
            self.assertNotIn(b"WATCHDOG=1", texts)
            self.assertEqual(child.terminate(), 0)
            self.assertEqual(self.batond.wait(), CLEAN)

    def test_the_watchdog_is_fed_when_it_is_asked_for(self):
        notify, path = self.supervisor()
        self.sidecar(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"})
        fed = 0
        while fed < 3:
            fed += notify.recv(4096) == b"WATCHDOG=1"

    def test_a_supervisor_that_does_not_read_or_is_gone_holds_nothing_up(self):
        notify, path = self.supervisor()
        self.sidecar(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000"})
        for _ in range(20):
            self.assertEqual(self.get("/livez").code, 200)
        notify.close()
        self.assertEqual(self.get("/livez").code, 200)
        self.sidecar(env={"NOTIFY_SOCKET": path})  # nobody there
        self.assertEqual(self.batond.terminate(), CLEAN)


if __name__ == "__main__":
    main()
