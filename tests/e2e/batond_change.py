"""POST: who may change something through batond, and what comes of it."""
import os
import shutil
import socket
import ssl

from batond_case import BATOND, TOKEN, BatondCase, FakeService, process, read_to_end, status_line, wait_until
from cli_case import TOY_NEXT
from workdir import main

OTHER = "another-token-9876543210"


def outside_address():
    """An address of this machine that is not loopback; None where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; chooses the address it would come from
        except OSError:
            return None
        address = probe.getsockname()[0]
        return None if address.startswith("127.") else address


class Token(BatondCase):
    def test_without_the_right_token_nothing_is_changed_and_it_is_in_no_log(self):
        child = self.start()
        self.sidecar("--token-file", self.token_file(), "--log-level", "debug")
        self.ready()
        for headers in ({}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "},
                        {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Bearer {TOKEN[:-1]}"},
                        {"Authorization": f"Bearer {TOKEN.upper()}"}, {"Authorization": f"Basic {TOKEN}"},
                        {"Authorization": TOKEN}, {"Authorization": f"Bearer {TOKEN} {TOKEN}"},
                        {"Authorization": "Bearer " + "x" * 4000}):
            for path in ("/drain", "/snapshot"):
                answer = self.get(path, "POST", headers)
                self.assertEqual((answer.code, answer.headers["WWW-Authenticate"]), (401, "Bearer"), headers)
                self.assertEqual(answer.json()["instance"]["pid"], child.pid)
        self.assertEqual(self.post("/snapshot").code, 200)
        self.assertEqual((self.status()["phase"], self.status()["snapshot"]["taken"]), ("running", 1))
        self.assertEqual(self.metric("batond_refused_total"), 22)
        self.batond.terminate()
        self.assertIn("batond.refused", self.batond.err())
        self.assertNotIn(TOKEN[:10], self.batond.err())
        self.assertNotIn("xxxx", self.batond.err())

    def test_without_a_token_file_nothing_can_be_changed(self):
        self.start()
        self.sidecar()
        self.ready()
        for token in (None, "", TOKEN):
            self.assertEqual(self.post("/drain", token=token).code, 403)
        self.assertEqual(self.status()["phase"], "running")

    def test_who_replaces_the_file_has_replaced_the_token(self):
        self.start()
        self.sidecar("--token-file", self.token_file())
        self.ready()
        self.assertEqual(self.post("/snapshot").code, 200)
        self.token_file(OTHER)
        self.assertEqual(self.post("/snapshot").code, 401)
        self.assertEqual(self.post("/snapshot", OTHER).code, 200)

    def test_a_file_that_strangers_can_read_or_that_is_gone_lets_nobody_in(self):
        self.start()
        path = self.token_file()
        self.sidecar("--token-file", path)
        self.ready()
        for spoil in (lambda: path.chmod(0o604), lambda: path.chmod(0o602), lambda: path.chmod(0o620),
                      lambda: path.write_text("short\n"), lambda: path.write_text("\n"),
                      lambda: path.write_text(TOKEN + "\n" + OTHER + "\n"), lambda: path.write_text(f'"{TOKEN}"\n'),
                      lambda: path.write_text("x" * 100000), lambda: path.unlink(), lambda: path.mkdir(),
                      lambda: path.rmdir() or os.mkfifo(path)):
            if path.is_file():
                self.token_file()
            spoil()
            for token in (TOKEN, "short", ""):
                answer = self.post("/snapshot", token)
                self.assertEqual(answer.code, 503, answer)
                self.assertNotIn(TOKEN, answer.text)
        path.unlink()
        self.token_file()
        self.assertEqual(self.post("/snapshot").code, 200)

    def test_a_start_with_a_bad_file_is_refused(self):
        for mode, words in ((0o604, "every user"), (0o620, "its group")):
            done = process.run(BATOND, "--service", self.data, "--listen", "127.0.0.1:0", "--token-file",
                               self.token_file(mode=mode))
            self.assert_refused(done, 1, words)
            self.assertNotIn(TOKEN, done.stderr)
        self.token_file(mode=0o640)  # as Kubernetes gives it to a group
        self.sidecar("--token-file", self.root / "token")


class Drain(BatondCase):
    def test_it_is_accepted_at_once_and_its_report_can_be_asked_for_later(self):
        child = self.start()
        self.client().add(1, 1)
        self.sidecar("--token-file", self.token_file())
        self.ready()
        answer = self.post("/drain")
        self.assertEqual((answer.code, answer.json()["accepted"], answer.json()["instance"]["pid"]), (202, True, child.pid))
        self.assertEqual(child.wait(), 0)
        health = wait_until(lambda: [h for h in [self.health()] if h["last_drain"]], "the report")[0]
        self.assertEqual((health["last_drain"]["ok"], health["last_drain"]["seq"]), (True, 1))
        self.assertEqual(health["last_drain"]["drain"]["outcome"], "clean")
        self.assertEqual(self.post("/drain").code, 503)
        self.assertEqual(self.start().ready["epoch"], 2)

    def test_who_waits_gets_the_report(self):
        child = self.start()
        self.sidecar("--token-file", self.token_file())
        self.ready()
        answer = self.post("/drain?wait=yes")
        self.assertEqual((answer.code, answer.json()["drain"]["outcome"]), (200, "clean"))
        self.assertEqual(child.wait(), 0)

    def test_a_service_that_dies_in_it_is_told_from_one_that_ended(self):
        child = self.start("--never-sent", "yes", "--drain-deadline", "600s")
        self.sidecar("--token-file", self.token_file())
        self.ready()
        self.assertEqual(self.post("/drain").code, 202)
        again = self.post("/drain").json()
        self.assertTrue(again["already"])
        child.kill()
        health = wait_until(lambda: [h for h in [self.health()] if h["last_drain"]], "the end")[0]
        self.assertEqual((health["last_drain"]["ok"], health["last_drain"]["drain"]), (False, None))
        self.assertEqual(health["last_drain"]["instance"]["pid"], child.pid)

    def test_only_the_instance_that_is_meant_obeys(self):
        child = self.start()
        self.sidecar("--token-file", self.token_file())
        self.ready()
        for path in ("/drain", "/snapshot"):
            self.assertEqual(self.post(path, body='{"nonce":"%s"}' % ("0" * 32)).code, 409)
            for body in ("x", "[]", "{}", '"x"', '{"nonce":5}', '{"nonce":"a","force":true}', '{"nonce":"a","nonce":"b"}'):
                self.assertEqual(self.post(path, body=body).code, 400, body)
        self.assertEqual(self.post("/drain?wait=perhaps").code, 400)
        self.assertEqual(self.status()["phase"], "running")
        nonce = '{"nonce":"%s"}' % self.health()["instance"]["nonce"]
        self.assertEqual(self.post("/snapshot", body=nonce).code, 200)
        self.assertEqual(self.post("/drain?wait=yes", body=nonce).code, 200)
        self.assertEqual(child.wait(), 0)


class Versions(BatondCase):
    def test_finalize_is_for_the_instance_that_is_meant(self):
        self.start().terminate()
        self.start(program=TOY_NEXT)
        self.sidecar("--token-file", self.token_file())
        self.ready()
        self.assertEqual((self.health()["schema"], self.post("/finalize", None).code), (1, 401))
        self.assertEqual(self.post("/finalize", body='{"nonce":"%s"}' % ("0" * 32)).code, 409)
        self.assertEqual(self.health()["schema"], 1)
        answer = self.post("/finalize", body='{"nonce":"%s"}' % self.health()["instance"]["nonce"])
        self.assertEqual((answer.code, answer.json()["schema"]), (200, 2))
        wait_until(lambda: self.health()["schema"] == 2, "the newest schema")

    def test_what_a_handover_is_told_reaches_the_service(self):
        fake = FakeService(self, lambda request: status_line())
        self.sidecar("--token-file", self.token_file(), service=fake.path)
        self.ready()
        self.assertEqual(self.post("/handover", body='{"nonce":"a","to":"b","max_gap_ms":100}').code, 200)
        self.assertIn({"baton": 1, "do": "handover", "nonce": "a", "to": "b", "max_gap_ms": 100}, fake.asked)
        for body in ('{"max_gap_ms":"1"}', '{"to":5}', '{"do":"drain"}', '{"baton":2}'):
            self.assertEqual(self.post("/handover", body=body).code, 400, body)
            self.assertEqual(self.post("/snapshot", body=body).code, 400, body)
        self.assertEqual(self.post("/drain", body='{"to":"b"}').code, 400)


class Silence(BatondCase):
    """A service that takes a request and does not answer it."""

    def quiet(self, request):
        return status_line() if request["do"] == "status" else ...

    def test_a_post_waits_no_longer_than_it_may_and_holds_up_nothing_else(self):
        fake = FakeService(self, self.quiet)
        self.sidecar("--token-file", self.token_file(), "--action-timeout", "500ms", service=fake.path)
        self.ready()
        for path in ("/snapshot", "/drain"):
            answer = self.post(path)
            self.assertEqual(answer.code, 504)
            self.assertIn("may still do it", answer.text)
        self.assertEqual(self.get("/readyz").code, 200)

    def test_too_many_at_once_are_asked_to_come_again(self):
        fake = FakeService(self, self.quiet)
        self.sidecar("--token-file", self.token_file(), "--action-timeout", "600s", service=fake.path)
        self.ready()
        request = f"POST /snapshot HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        waiting = [self.connect() for _ in range(7)]
        for connection in waiting:
            connection.sendall(request)
        wait_until(lambda: sum(asked["do"] == "snapshot" for asked in fake.asked) == 7, "seven questions")
        answer = self.post("/snapshot")
        self.assertEqual((answer.code, answer.headers["Retry-After"]), (429, "1"))
        self.assertEqual(self.get("/readyz").code, 200)
        self.assertEqual(self.batond.terminate(), 0)  # with seven waiting
        for connection in waiting:
            self.assertIn(b"HTTP/1.1 504", read_to_end(connection))

    def test_a_service_that_hangs_up_is_not_said_to_have_done_it(self):
        fake = FakeService(self, lambda request: status_line() if request["do"] == "status" else None)
        self.sidecar("--token-file", self.token_file(), service=fake.path)
        self.ready()
        for path in ("/snapshot", "/drain", "/drain?wait=yes"):
            self.assertEqual(self.post(path).code, 502, path)


class Transport(BatondCase):
    def setUp(self):
        super().setUp()
        if shutil.which("openssl") is None:
            self.skipTest("there is no openssl to make a certificate with")

    def test_over_tls_it_is_the_same(self):
        child = self.start()
        certificate, key = self.certificate()
        self.sidecar("--tls-cert", certificate, "--tls-key", key, "--token-file", self.token_file())
        self.trust(certificate)
        self.ready()
        self.assertEqual(self.get("/health").json()["instance"]["pid"], child.pid)
        self.assertEqual(self.post("/snapshot", "wrong-token-0123456789").code, 401)
        self.assertEqual(self.post("/drain?wait=yes").code, 200)

    def test_another_certificate_is_taken_without_a_restart(self):
        self.start()
        certificate, key = self.certificate()
        new_certificate, new_key = self.certificate("new")
        child = self.sidecar("--tls-cert", certificate, "--tls-key", key)
        self.trust(certificate)
        self.ready()
        os.replace(new_certificate, certificate)  # and its key is not there yet: the ones before serve on
        self.assertEqual(self.get("/livez").code, 200)
        self.assertIn("the certificate and the key don't load", child.err())
        os.replace(new_key, key)
        self.trust(certificate)
        self.assertEqual(self.get("/livez").code, 200)
        self.assertEqual(child.err().count("don't load"), 1)

    def test_old_versions_of_tls_and_plain_http_get_nothing(self):
        self.start()
        certificate, key = self.certificate()
        self.sidecar("--tls-cert", certificate, "--tls-key", key)
        self.trust(certificate)
        self.ready()
        self.assertNotIn(b"200", self.raw(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"))
        for version, works in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True),
                               (ssl.TLSVersion.TLSv1_3, True)):
            self.trust(certificate)
            self.tls.set_ciphers("ALL:@SECLEVEL=0")
            self.tls.minimum_version = self.tls.maximum_version = version
            try:
                self.assertEqual((self.get("/livez").code, works), (200, True))
            except OSError:
                self.assertFalse(works, version)
        self.trust(self.certificate("other")[0])
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.get("/livez")
        self.trust(certificate)
        self.assertEqual(self.get("/livez").code, 200)

    def test_a_key_that_strangers_can_read_or_of_another_certificate_is_refused(self):
        certificate, key = self.certificate()
        _, other = self.certificate("other")
        for spoiled, words in ((other, "don't load"), (certificate, "every user")):
            certificate.chmod(0o644)
            done = process.run(BATOND, "--service", self.data, "--listen", "127.0.0.1:0", "--tls-cert", certificate,
                               "--tls-key", spoiled)
            self.assert_refused(done, 1, words)
        key.chmod(0o640)
        self.sidecar("--tls-cert", certificate, "--tls-key", key)

    def test_from_another_machine_nothing_is_changed_in_the_clear(self):
        outside = outside_address()
        if outside is None:
            self.skipTest("this machine has no address but loopback")
        self.start()
        self.sidecar("--token-file", self.token_file(), listen="0.0.0.0:0")
        wait_until(lambda: self.get("/readyz", host=outside).code == 200, "readiness")
        refused = self.post("/snapshot", host=outside)
        self.assertEqual(refused.code, 403)
        self.assertIn("TLS", refused.text)
        self.assertEqual(self.post("/snapshot", host="127.0.0.1").code, 200)
        certificate, key = self.certificate()
        self.sidecar("--token-file", self.token_file(), "--tls-cert", certificate, "--tls-key", key, listen="0.0.0.0:0")
        self.trust(certificate)
        self.tls.verify_mode = ssl.CERT_NONE  # it is for another address
        wait_until(lambda: self.get("/readyz", host=outside).code == 200, "readiness")
        self.assertEqual(self.post("/snapshot", host=outside).code, 200)


if __name__ == "__main__":
    main()
