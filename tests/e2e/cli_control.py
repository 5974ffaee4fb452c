"""The control socket: who may ask, what is understood, and that nobody can lock others out or take another's socket."""
import json
import os
import shutil
import socket
import stat
import subprocess
import sys

from cli_case import TOY, ServiceCase, process, signal
from workdir import connect_unix, main, wait_until

REQUEST = {"baton": 1, "do": "status"}


class Connection:
    """One raw connection to the control socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connect_unix(self.socket, path)  # blocks while the queue of callers is full
        self.socket.settimeout(120)
        self.input = b""

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n")

    def answer(self):
        """The next line as an object; None when the service hung up."""
        while b"\n" not in self.input:
            try:
                part = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not part:
                return None
            self.input += part
        line, _, self.input = self.input.partition(b"\n")
        return json.loads(line)

    def ask(self, data):
        self.send(data)
        return self.answer()


class Control(ServiceCase):
    def connect(self, path=None):
        connection = Connection(path or self.control)
        self.addCleanup(connection.socket.close)
        return connection

    def test_every_answer_names_the_instance(self):
        child = self.start()
        status = self.status()
        self.assertEqual(status["instance"], {"service": "toy", "version": "1.0.0", "pid": child.pid,
                                              "nonce": child.ready["nonce"]})
        refused = self.connect().ask({"baton": 1, "do": "follow"})
        self.assertEqual(refused["instance"], status["instance"])
        self.assertEqual(child.terminate(), 0)
        self.assertNotEqual(self.start().ready["nonce"], child.ready["nonce"])

    def test_status_follows_what_happens(self):
        self.start()
        client = self.client()
        for number in range(5):
            client.add(0, number)
        status = self.status()
        self.assertEqual((status["seq"], status["durable_seq"], status["released_seq"]), (5, 5, 5))
        self.assertEqual((status["phase"], status["epoch"], status["sealed"]), ("running", 1, False))
        self.assertEqual(len(status["state_digest"]), 32)
        self.assertIn("state_digest", self.service("status", check=0).stdout)

    def test_what_is_not_understood_is_refused_and_the_connection_stays(self):
        self.start()
        connection = self.connect()
        for request, status in ((b"\n", "BATON_E_INVALID"), (b"garbage\n", "BATON_E_INVALID"), (b"[1]\n", "BATON_E_INVALID"),
                                (b"\xff\xfe{}\n", "BATON_E_INVALID"), (b"{}\n", "BATON_E_INVALID"),
                                (b'{"baton":1,"do":"status","do":"drain"}\n', "BATON_E_INVALID"),
                                ({"baton": "1", "do": "status"}, "BATON_E_INVALID"),
                                ({"baton": 1, "do": 7}, "BATON_E_INVALID"),
                                ({"baton": 2, "do": "status"}, "BATON_E_NEWER_FORMAT"),
                                ({"baton": 1, "do": "explode"}, "BATON_E_UNKNOWN_TYPE"),
                                ({"baton": 1, "do": "status", "force": True}, "BATON_E_UNKNOWN_TYPE"),
                                ({"baton": 1, "do": "drain", "nonce": "0" * 32}, "BATON_E_REFUSED"),
                                ({"baton": 1, "do": "drain", "nonce": 5}, "BATON_E_REFUSED"),
                                ({"baton": 1, "do": "follow"}, "BATON_E_INVALID"),
                                ({"baton": 1, "do": "follow", "of": "/tmp"}, "BATON_E_REFUSED"),
                                ({"baton": 1, "do": "handover"}, "BATON_E_NOT_FOUND"),
                                ({"baton": 1, "do": "handover", "to": "x"}, "BATON_E_INVALID"),
                                ({"baton": 1, "do": "handover", "to": 5}, "BATON_E_INVALID"),
                                ({"baton": 1, "do": "handover", "max_gap_ms": 0}, "BATON_E_INVALID"),
                                ({"baton": 1, "do": "drain", "max_gap_ms": 9}, "BATON_E_UNKNOWN_TYPE")):
            answer = connection.ask(request)
            self.assertFalse(answer["ok"], request)
            self.assertEqual(answer["error"]["status"], status, request)
            self.assertTrue(answer["error"]["why"] and answer["error"]["todo"])
        self.assertTrue(connection.ask(REQUEST)["ok"])
        self.assertEqual(self.status()["phase"], "running")

    def test_a_service_that_hydrates_says_how_far_it_is_and_goes_on_with_its_callers(self):
        child = self.start("--log-level", "error")
        client = self.client()
        for _ in range(100):
            for _ in range(50):
                client.send(1, 1)
            for _ in range(50):
                self.assertNotIn("error", client.receive())
        client.close()
        child.send(signal.SIGKILL)
        child.wait()
        os.unlink(self.control)
        ready = self.root / "ready"
        child = self.start("--slow-until", ready, ready=False)  # 10 s and more, if it is let
        wait_until(lambda: self.service("status").status == 0, "the socket")
        connection = self.connect()
        first = wait_until(lambda: connection.ask(REQUEST), "an answer")
        self.assertEqual((first["ok"], first["phase"]), (True, "hydrating"))
        self.assertEqual((first["hydrating"]["step"], first["hydrating"]["of"]), ("replaying", 5000))
        later = wait_until(lambda: [a for a in [connection.ask(REQUEST)["hydrating"]]
                                    if a["done"] > first["hydrating"]["done"]], "progress")[0]
        self.assertEqual(later["seq"], later["done"])
        for word in ("drain", "snapshot", "finalize"):
            refused = connection.ask({"baton": 1, "do": word})
            self.assertEqual((refused["ok"], refused["error"]["status"]), (False, "BATON_E_AGAIN"))
        self.assertIn("hydrating", self.service("status", check=0).stdout)
        wait_until(lambda: "service.hydrating phase=replaying" in child.err(), "the log's line of each second")
        ready.write_text("")
        child.ready = self.read_line_json(child.ready_fd, child)
        running = connection.ask(REQUEST)
        self.assertEqual((running["phase"], running["seq"]), ("running", 5000))
        self.assertEqual(running["instance"], first["instance"])
        self.assertEqual(child.terminate(), 0, child.err())

    def test_its_metrics_are_text_for_prometheus(self):
        self.start()
        self.client().add(0, 1)
        connection = self.connect()
        answer = connection.ask({"baton": 1, "do": "metrics"})
        self.assertEqual((answer["ok"], answer["instance"]), (True, self.status()["instance"]))
        self.assertRegex(answer["metrics"], r"(?m)^# TYPE baton_applied_seq gauge\nbaton_applied_seq 1$")
        self.assertTrue(connection.ask(REQUEST)["ok"])

    def test_who_awaits_a_drain_begins_none_and_gets_its_report(self):
        child = self.start()
        connection = self.connect()
        connection.send({"baton": 1, "do": "await_drain", "nonce": child.ready["nonce"]})
        self.assertEqual(self.status()["phase"], "running")
        self.assertEqual(child.terminate(), 0)
        report = connection.answer()
        self.assertEqual((report["ok"], report["drain"]["outcome"], report["instance"]["pid"]), (True, "clean", child.pid))
        self.assertIsNone(connection.answer())

    def test_the_nonce_of_this_instance_is_accepted(self):
        child = self.start()
        self.service("status", "--nonce", child.ready["nonce"], check=0)
        self.assert_refused(self.service("drain", "--nonce", "f" * 32), 1, "nonce")
        self.assertTrue(child.running())

    def test_a_line_without_end_is_refused_and_hung_up(self):
        self.start()
        connection = self.connect()
        connection.send(b"x" * 4096)
        answer = connection.answer()
        self.assertEqual(answer["error"]["status"], "BATON_E_TOO_LARGE")
        self.assertIsNone(connection.answer())
        self.status()

    def test_pipelined_and_split_requests_are_answered_in_order(self):
        self.start()
        connection = self.connect()
        line = json.dumps(REQUEST).encode() + b"\n"
        connection.send(line * 30 + line[:10])
        for _ in range(30):
            self.assertTrue(connection.answer()["ok"])
        connection.send(line[10:])
        self.assertTrue(connection.answer()["ok"])

    def test_who_has_sent_its_last_byte_still_gets_its_answer(self):
        self.start()
        connection = self.connect()
        connection.send({"baton": 1, "do": "status"})
        connection.socket.shutdown(socket.SHUT_WR)
        self.assertTrue(connection.answer()["ok"])
        self.assertIsNone(connection.answer())

    def test_clients_that_say_nothing_lock_nobody_out(self):
        self.start()
        silent = [self.connect() for _ in range(60)]
        for _ in range(3):
            self.assertTrue(self.status()["ok"])
        active = self.connect()
        self.assertTrue(active.ask(REQUEST)["ok"])
        self.assertIsNone(silent[0].answer())  # the one that was idle for longest made room

    def test_clients_that_never_read_do_no_harm(self):
        self.start()
        for _ in range(5):
            greedy = self.connect()
            greedy.socket.setblocking(False)
            try:
                for _ in range(10000):
                    greedy.socket.send(json.dumps(REQUEST).encode() + b"\n")
            except BlockingIOError:
                pass
        client = self.client()
        self.assertEqual(client.add(1, 1), "1 1 1")
        self.assertTrue(self.status()["ok"])

    def test_clients_that_vanish_do_no_harm(self):
        child = self.start()
        for request in (b"", b"{", json.dumps(REQUEST).encode() + b"\n", b'{"baton":1,"do":"snapshot"}\n'):
            for _ in range(20):
                connection = Connection(self.control)
                connection.send(request)
                connection.socket.close()
        self.assertTrue(self.status()["ok"])
        self.assertEqual(child.terminate(), 0, child.err())

    def test_a_snapshot_is_answered_when_it_is_published(self):
        self.start()
        client = self.client()
        for number in range(1, 4):
            client.add(0, number)
            answer = self.service("snapshot", "-o", "json", check=0).json()
            self.assertEqual(answer["snapshot"]["last_seq"], number)
            self.assertTrue(list((self.data / "snapshots").glob(f"{number:016x}-*.manifest")))

    def test_many_snapshot_requests_at_once_are_all_answered(self):
        self.start()
        self.client().add(0, 1)
        connections = [self.connect() for _ in range(8)]
        for connection in connections:
            connection.send({"baton": 1, "do": "snapshot"})
        for connection in connections:
            answer = connection.answer()
            self.assertTrue(answer["ok"], answer)
            self.assertEqual(answer["snapshot"]["last_seq"], 1)
        self.assertEqual(self.status()["snapshot"]["taken"], 1)

    def test_the_socket_is_private_and_gone_after_the_end(self):
        child = self.start()
        self.assertEqual(stat.S_IMODE(os.stat(self.control).st_mode), 0o600)
        self.assertEqual(child.terminate(), 0)
        self.assertFalse(os.path.exists(self.control))
        self.assert_refused(self.service("status"), 1, "no service")

    def test_the_socket_of_a_killed_service_is_taken_over(self):
        child = self.start()
        child.kill()
        self.assertTrue(os.path.exists(self.control))
        self.assert_refused(self.service("status"), 1, "no service")
        again = self.start()
        self.assertEqual(self.status()["instance"]["pid"], again.pid)

    def test_a_living_services_socket_is_not_taken(self):
        first = self.start()
        second = process.run(TOY, "run", "--dir", self.root / "second", "--control", self.control)
        self.assert_refused(second, 7, "another service")
        self.assertEqual(self.status()["instance"]["pid"], first.pid)

    def test_something_else_in_its_place_is_left_alone(self):
        place = self.root / "place"
        place.write_text("precious")
        result = process.run(TOY, "run", "--dir", self.data, "--control", place)
        self.assert_refused(result, 1, str(place))
        self.assertEqual(place.read_text(), "precious")
        self.assert_refused(process.run(TOY, "run", "--dir", self.data, "--control", "/no/such/place"), 1)

    def test_a_path_longer_than_a_socket_address_works(self):
        deep = self.root / ("d" * 60) / ("e" * 60)
        deep.mkdir(parents=True)
        path = str(deep / "control.sock")
        child = self.start("--control", path)
        self.assertEqual(self.service("status", "-o", "json", where=path, check=0).json()["instance"]["pid"], child.pid)
        self.service("drain", where=path, check=0)
        self.assertFalse(os.path.exists(path))

    def test_the_directory_stands_for_its_socket(self):
        child = self.start()
        found = self.service("status", "-o", "json", where=self.data, check=0).json()
        self.assertEqual(found["instance"]["pid"], child.pid)

    def test_another_user_is_refused(self):
        if os.geteuid() != 0:
            self.skipTest("becoming another user needs root")
        path = self.socket_path("control")
        self.start("--control", path)
        os.chmod(os.path.dirname(path), 0o755)
        os.chmod(path, 0o666)  # so that only the peer's credentials are left to refuse it
        script = ("import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
                  "s = socket.socket(socket.AF_UNIX); s.settimeout(120); s.connect(sys.argv[1])\n"
                  "data = b''\n"
                  "while not data.endswith(b'\\n'):\n"
                  "    part = s.recv(65536)\n"
                  "    if not part: break\n"
                  "    data += part\n"
                  "print(data.decode())")
        result = process.run(sys.executable, "-c", script, path, check=0)
        answer = json.loads(result.stdout)
        self.assertFalse(answer["ok"])
        self.assertIn("root", answer["error"]["why"])
        self.service("status", where=path, check=0)

    def test_a_stopped_service_times_out_with_its_own_exit_code(self):
        child = self.start()
        child.send(signal.SIGSTOP)
        try:
            self.assert_refused(self.service("status", "--timeout", "200ms"), 8)
            waiting = []
            for _ in range(200):  # until its queue of callers is full
                caller = socket.socket(socket.AF_UNIX)
                waiting.append(caller)
                caller.setblocking(False)
                try:
                    connect_unix(caller, self.control)
                except BlockingIOError:
                    break
            else:
                self.fail("the queue of callers has no end")
            self.assert_refused(self.service("status", "--timeout", "200ms"), 8)
            for caller in waiting:
                caller.close()
        finally:
            child.send(signal.SIGCONT)
        self.status()

    def test_something_that_is_no_service_is_told(self):
        path = self.socket_path("stranger")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(4)
            asking = self.spawn(process.program("baton"), "service", "status", path)
            peer, _ = listener.accept()
            peer.sendall(b"220 mail.example ESMTP\r\n")
            self.assertEqual(asking.wait(), 1)
            self.assertIn("no JSON", asking.err())
            peer.close()
            asking = self.spawn(process.program("baton"), "service", "status", path)
            peer, _ = listener.accept()
            peer.close()
            self.assertEqual(asking.wait(), 1)
            self.assertIn("hung up", asking.err())

    def test_when_descriptors_run_out_others_are_still_served(self):
        child = self.start()
        limit = len(os.listdir(f"/proc/{child.pid}/fd")) + 2
        subprocess.run([shutil.which("prlimit"), f"--nofile={limit}:{limit}", "--pid", str(child.pid)], check=True)
        silent = [self.connect() for _ in range(30)]
        wait_until(lambda: any(c.socket.recv(1) == b"" for c in silent[-1:]), "a hang-up", timeout=60)
        for connection in silent:
            connection.socket.close()
        client_status = self.status()
        self.assertEqual(client_status["phase"], "running")


if __name__ == "__main__":
    main()
