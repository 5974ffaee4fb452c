"""Strangers at batond's HTTP: what is malformed, slow, silent or too much changes nothing for others."""
import os
import shutil
import socket
import threading
import time

from batond_case import BatondCase, FakeService, read_to_end, status_line, wait_until
from workdir import main

GET = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"


class Requests(BatondCase):
    def test_other_methods_and_paths_are_refused_by_name(self):
        self.start()
        self.sidecar("--token-file", self.token_file())
        self.ready()
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FROBNICATE"):
            answer = self.get("/health", method)
            self.assertEqual((answer.code, answer.headers["Allow"]), (405, "GET, HEAD"), method)
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answer = self.get("/drain", method)
            self.assertEqual((answer.code, answer.headers["Allow"]), (405, "POST"), method)
        for path in ("/", "/healthz", "/health/", "//health", "/../health", "/%00", "/livez%20"):
            self.assertEqual(self.get(path).code, 404, path)
        head = self.get("/health", "HEAD")
        self.assertEqual((head.code, head.text), (200, ""))
        self.assertEqual(self.status()["phase"], "running")

    def test_what_is_no_http_is_ended_and_nobody_else_notices(self):
        self.start()
        self.sidecar("--connection-timeout", "5s")
        self.ready()
        connections = []
        for data in (b"garbage\r\n\r\n", b"\r\n" * 50 + b"\r\n", b"\x00" * 500 + b"\r\n\r\n", b"GET\r\n\r\n",
                     b"GET /livez\r\n\r\n", b"GET /livez HTTP/9.9\r\n\r\n", b"GET /livez HTTP/1.1\r\n\r\n",
                     b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 300,
                     b"POST /drain HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                     b"POST /drain HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                     b"POST /drain HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzzz\r\n"):
            connections.append((data, self.connect()))
            connections[-1][1].sendall(data)
            connections[-1][1].shutdown(socket.SHUT_WR)
            self.assertEqual(self.get("/livez").code, 200, data)
        # Some at once, by what they say; what may be the beginning of a request, when its time is over.
        for data, connection in connections:
            self.assertNotIn(b"HTTP/1.1 20", read_to_end(connection), data)

    def test_heads_and_bodies_are_bounded(self):
        self.start()
        self.sidecar("--token-file", self.token_file())
        self.ready()
        for head in (b"GET /" + b"x" * 200000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200000 + b"\r\n\r\n",
                     b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 40000 + b"\r\n"):
            self.assertNotIn(b"200 OK", self.raw(head))
        self.assertEqual(self.post("/drain", body="x" * 1025).code, 413)
        self.assertEqual(self.post("/drain", body="x" * 1024).code, 400)
        chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
        self.assertNotIn(b"HTTP/1.1 20", self.raw(b"POST /drain HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                                                  + chunk * 2000))
        self.assertEqual(self.status()["phase"], "running")
        self.assertEqual(self.get("/readyz").code, 200)


class Slow(BatondCase):
    def test_a_request_that_drips_is_ended_and_so_is_one_that_never_comes(self):
        self.sidecar("--connection-timeout", "500ms")
        silent, dripping = self.connect(), self.connect()
        dripping.sendall(b"GET /livez HTTP/1.1\r\n")
        dripping.settimeout(0.02)
        data = b""
        try:
            while True:  # for as long as it is let
                dripping.sendall(b"x")
                try:
                    data = dripping.recv(100)
                    break
                except TimeoutError:
                    pass
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertEqual(data, b"")
        self.assertEqual(read_to_end(silent), b"")
        self.assertEqual(self.metric('batond_connections_dropped_total{why="too slow"}'), 2)

    def test_silent_connections_lock_nobody_out(self):
        self.sidecar("--connections", "4", "--connection-timeout", "600s")
        silent = [self.connect() for _ in range(30)]
        for _ in range(10):
            self.assertEqual(self.get("/livez").code, 200)
        self.assertEqual(read_to_end(silent[0]), b"")  # the oldest made room
        self.assertGreaterEqual(self.metric('batond_connections_dropped_total{why="made room"}'), 26)

    def test_silent_connections_lock_nobody_out_of_tls(self):
        if shutil.which("openssl") is None:
            self.skipTest("there is no openssl to make a certificate with")
        certificate, key = self.certificate()
        self.sidecar("--connections", "4", "--connection-timeout", "600s", "--tls-cert", certificate, "--tls-key", key)
        self.trust(certificate)
        for hello in (b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET /livez HTTP/1.1\r\n"):
            for _ in range(8):
                self.connect().sendall(hello)
            self.assertEqual(self.get("/livez").code, 200)

    def test_half_requests_lock_nobody_out(self):
        self.sidecar("--connections", "4", "--connection-timeout", "600s", "--token-file", self.token_file())
        for half in (GET[:-2], b"POST /drain HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab"):
            for _ in range(15):
                self.connect().sendall(half)
            self.assertEqual(self.get("/livez").code, 200)

    def test_who_does_not_take_the_answer_holds_up_nobody(self):
        self.sidecar("--connections", "4", "--connection-timeout", "600s")
        for _ in range(20):
            self.connect().sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(self.get("/livez").code, 200)

    def test_who_hangs_up_while_waiting_leaves_nothing_behind(self):
        fake = FakeService(self, lambda request: ...)
        self.sidecar("--answer-timeout", "100ms", "--connections", "4", service=fake.path, patient=False)
        for _ in range(40):
            connection = self.connect()
            connection.sendall(GET)
            connection.close()
        wait_until(lambda: self.metric("batond_connections") == 1, "only this one to be left")


class Load(BatondCase):
    def test_a_flood_of_probes_is_no_load_for_the_service(self):
        fake = FakeService(self, lambda request: status_line())
        self.sidecar(service=fake.path)
        self.ready()
        codes = []
        began, before = time.monotonic(), len(fake.asked)

        def probe():
            for _ in range(60):
                codes.append(self.get("/readyz").code)
        threads = [threading.Thread(target=probe) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(codes, [200] * 480)
        # One question each 50 ms at most, whatever the time it took.
        self.assertLessEqual(len(fake.asked) - before, (time.monotonic() - began) / 0.05 + 3)
        self.assertLessEqual(len(fake.connections), 2)  # for questions, and for the end of its drain

    def test_a_thousand_requests_leave_no_descriptor_behind(self):
        self.start()
        self.sidecar("--token-file", self.token_file())
        self.ready()
        folder = f"/proc/{self.batond.pid}/fd"
        wait_until(lambda: self.metric("batond_connections") == 1, "only this one to be left")
        before = len(os.listdir(folder))
        for _ in range(200):
            for path, code in (("/health", 200), ("/readyz", 200), ("/nowhere", 404), ("/metrics", 200)):
                self.assertEqual(self.get(path).code, code)
            self.assertEqual(self.post("/snapshot", "wrong" * 5).code, 401)
        self.assertEqual(self.post("/snapshot").code, 200)
        wait_until(lambda: len(os.listdir(folder)) <= before, "as many as before")

    def test_of_a_service_that_never_answers_one_caller_waits_however_many_ask(self):
        fake = FakeService(self, lambda request: ...)
        self.sidecar("--answer-timeout", "100ms", service=fake.path, patient=False)
        for _ in range(60):
            self.assertEqual(self.get("/readyz").code, 503)
        self.assertEqual((len(fake.connections), len(fake.asked)), (1, 1))
        self.assertEqual(self.get("/livez").code, 200)


if __name__ == "__main__":
    main()
