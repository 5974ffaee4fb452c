"""batond's answers about a service: what it says in each phase, and that it stays honest when the service does not."""
import json
import os
import re

from batond_case import BATOND, BatondCase, FakeService, process, status_line, wait_until
from cli_case import signal
from workdir import main


class Phases(BatondCase):
    def assert_codes(self, live, ready, started, health):
        codes = {path: self.get(path).code for path in ("/livez", "/readyz", "/startupz", "/health")}
        self.assertEqual(codes, {"/livez": live, "/readyz": ready, "/startupz": started, "/health": health})

    def test_without_a_service_it_is_alive_and_says_that_nobody_is_there(self):
        self.sidecar()
        self.assert_codes(200, 503, 503, 503)
        health = self.health()
        self.assertEqual((health["status"], health["phase"], health["ready"], health["instance"]),
                         ("absent", "absent", False, None))
        self.assertIn("no service answers", health["why"])
        self.assertNotIn("healthy", self.get("/health").text)
        self.assertEqual(self.get("/health").instance, "none")
        self.assertEqual(self.metric("baton_up"), 0)

    def test_of_a_running_service_it_says_what_the_service_says(self):
        child = self.start()
        client = self.client()
        for number in range(9):
            client.add(number, 1)
        self.sidecar()
        self.ready()
        self.assert_codes(200, 200, 200, 200)
        status, health = self.status(), self.health()
        for key in ("seq", "durable_seq", "epoch", "schema", "state_digest", "effect_digest", "instance", "phase"):
            self.assertEqual(health[key], status[key], key)
        self.assertEqual((health["status"], health["version"], health["seq"]), ("healthy", "1.0.0", 9))
        self.assertEqual(health["hydrate"]["progress"], 1)
        self.assertEqual(health["compatibility"], {"min_agent_version": "1.0.0", "max_agent_version": "1.1.0"})
        nonce = child.ready["nonce"]
        for path in ("/livez", "/readyz", "/startupz", "/health", "/metrics", "/nowhere", "/drain"):
            self.assertEqual(self.get(path).instance, f"toy/1.0.0 pid={child.pid} nonce={nonce}", path)
        for path in ("/livez", "/readyz", "/startupz"):
            self.assertEqual(self.get(path).json()["instance"], status["instance"], path)

    def test_while_it_hydrates_it_is_alive_and_not_ready_and_says_how_far_it_is(self):
        child = self.start("--log-level", "error")
        client = self.client()
        for _ in range(100):
            for _ in range(50):
                client.send(1, 1)
            for _ in range(50):
                client.receive()
        client.close()
        child.kill()
        go_on = self.root / "go-on"
        self.sidecar()
        child = self.start("--slow-until", go_on, ready=False)  # 10 s and more, if it is let
        health = wait_until(lambda: [h for h in [self.health()] if h["phase"] == "hydrating" and h["hydrate"]["done"]],
                            "a service that hydrates")[0]
        self.assert_codes(200, 503, 503, 200)
        self.assertEqual((health["status"], health["ready"]), ("starting", False))
        self.assertTrue(0 < health["hydrate"]["progress"] < 1, health["hydrate"])
        text = self.get("/metrics").text
        self.assertTrue(0 < self.metric("baton_hydrate_progress_ratio", text) < 1)
        self.assertEqual((self.metric("baton_up", text), self.metric("baton_ready", text)), (1, 0))
        self.assertIn('baton_phase{phase="hydrating"} 1', text)
        self.assertNotIn("baton_applied_seq", text)
        go_on.write_text("")
        self.read_line_json(child.ready_fd, child)
        self.ready()
        self.assert_codes(200, 200, 200, 200)
        self.assertEqual(self.health()["seq"], 5000)

    def test_a_drain_is_seen_to_its_end_and_its_report_stays(self):
        child = self.start("--never-sent", "yes", "--drain-deadline", "8s")
        self.sidecar()
        self.ready()
        child.send(signal.SIGTERM)  # half of the deadline it waits for a client that never reads
        wait_until(lambda: self.health()["phase"] == "draining", "the drain")
        self.assert_codes(200, 503, 200, 200)
        self.assertEqual(self.health()["status"], "draining")
        child.wait()
        health = wait_until(lambda: [h for h in [self.health()] if h["last_drain"]], "the report")[0]
        self.assertEqual(health["last_drain"]["instance"]["pid"], child.pid)
        self.assertEqual(health["last_drain"]["drain"]["outcome"], "clean")
        wait_until(lambda: self.health()["phase"] == "absent", "its absence")
        self.assert_codes(200, 503, 503, 503)

    def test_a_restart_is_noticed_by_its_nonce(self):
        first = self.start()
        self.sidecar()
        self.ready()
        first.kill()
        wait_until(lambda: self.get("/readyz").code == 503, "the end of readiness")
        self.assertEqual(self.health()["instance"]["nonce"], first.ready["nonce"])
        second = self.start()
        self.ready()
        self.assertEqual(self.health()["instance"], {"service": "toy", "version": "1.0.0", "pid": second.pid,
                                                     "nonce": second.ready["nonce"]})
        text = self.get("/metrics").text
        self.assertEqual(self.metric("batond_instances_total", text), 2)
        self.assertIn(f'instance="{second.ready["nonce"]}"', text)
        self.assertNotIn(first.ready["nonce"], text)

    def test_a_service_that_hangs_is_said_to_be_silent_and_holds_nobody_up(self):
        child = self.start()
        self.sidecar("--answer-timeout", "300ms", "--hang-after", "1s", "--token-file", self.token_file(), patient=False)
        self.ready()
        child.send(signal.SIGSTOP)
        wait_until(lambda: self.get("/readyz").code == 503, "the end of readiness")
        health = wait_until(lambda: [h for h in [self.health()] if h["status"] == "silent"], "silence")[0]
        self.assertEqual(health["instance"]["pid"], child.pid)
        self.assertEqual(self.get("/metrics").code, 200)
        self.assertEqual(self.metric("baton_up"), 0)
        wait_until(lambda: self.get("/livez").code == 503, "liveness to end")
        refused = self.post("/drain")
        self.assertEqual((refused.code, refused.json()["instance"]["pid"]), (503, child.pid))
        self.assertIn("it was not asked", refused.text)
        # However often it is asked, one caller of ours waits there, and the operator still gets in.
        for _ in range(100):
            self.get("/readyz")
        child.send(signal.SIGCONT)
        self.ready()
        self.assert_codes(200, 200, 200, 200)
        self.assertIn("batond.service_answers_again", self.batond.err())
        self.assertEqual(self.health()["phase"], "running")


class Metrics(BatondCase):
    SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_]\w*="([^"\\\n]|\\.)*",?)*\})? (NaN|[+-]?Inf|[-+\d.e]+)$')

    def test_it_is_text_that_prometheus_reads_with_the_services_own_numbers(self):
        child = self.start()
        self.client().add(1, 1)
        self.sidecar()
        self.ready()
        wait_until(lambda: self.metric("baton_durable_seq") == 1, "the service's numbers")
        answer = self.get("/metrics")
        self.assertEqual(answer.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        samples, types = [], []
        for line in answer.text.splitlines():
            if line.startswith("# TYPE "):
                types.append(line.split()[2])
            elif not line.startswith("# HELP "):
                self.assertRegex(line, self.SAMPLE)
                samples.append(line.rsplit(" ", 1)[0])
        self.assertEqual(len(types), len(set(types)))
        self.assertEqual(len(samples), len(set(samples)))
        self.assertIn(f'baton_build_info{{service="toy",version="1.0.0",instance="{child.ready["nonce"]}",'
                      f'pid="{child.pid}"}} 1', answer.text)
        self.assertEqual(self.metric("baton_up", answer.text), 1)
        self.assertGreater(self.metric("baton_predicted_rto_seconds", answer.text), 0)

    def test_a_service_that_knows_no_metrics_leaves_batonds_own(self):
        def answer(request):
            if request["do"] == "status":
                return status_line()
            return json.dumps({"baton": 1, "ok": False, "error": {"status": "BATON_E_UNKNOWN_TYPE"},
                               "instance": json.loads(status_line())["instance"]}).encode() + b"\n"
        self.sidecar(service=FakeService(self, answer).path)
        self.ready()
        text = self.get("/metrics").text
        self.assertEqual(self.metric("baton_up", text), 1)
        self.assertIn('baton_build_info{service="fake",version="2.5.7"', text)

    def test_names_that_a_service_gives_itself_can_not_forge_a_line(self):
        line = json.dumps({"baton": 1, "ok": True, "phase": 'x"\ny 1', "sealed": False, "instance": {
            "service": 'a"b\\c\nforged 1', "version": "1.0.0\r\nSet-Cookie: x", "pid": 1, "nonce": "n"}}).encode() + b"\n"
        self.sidecar(service=FakeService(self, lambda request: line).path)
        wait_until(lambda: self.health()["instance"], "the service")
        answer = self.get("/metrics")
        self.assertIn('service="a\\"b\\\\c\\nforged 1"', answer.text)
        self.assertIsNone(self.metric("forged", answer.text))
        self.assertNotIn("Set-Cookie", answer.headers)
        self.assertEqual(answer.instance, 'a"b\\c?forged 1/1.0.0??Set-Cookie: x pid=1 nonce=n')


class Window(BatondCase):
    def test_it_is_one_minor_version_around_unless_told_otherwise(self):
        fake = FakeService(self, lambda request: status_line())
        self.sidecar(service=fake.path)
        self.ready()
        self.assertEqual(self.health()["compatibility"], {"min_agent_version": "2.4.0", "max_agent_version": "2.6.0"})
        self.sidecar("--compatible-min", "2.0.0", service=fake.path)
        self.ready()
        self.assertEqual(self.health()["compatibility"], {"min_agent_version": "2.0.0", "max_agent_version": "2.6.0"})


class Strangers(BatondCase):
    """Something else than a service holds the socket."""

    def test_what_is_no_answer_of_a_service_is_as_good_as_none(self):
        named = json.loads(status_line())["instance"]
        for said in (b"garbage\n", b"\n", b"[]\n", b"{}\n", b'{"ok":true}\n', b"\xff\xfe\n", b"x" * (1 << 20), None,
                     json.dumps({"ok": True, "instance": {**named, "nonce": 5}}).encode() + b"\n",
                     json.dumps({"ok": False, "instance": named, "error": {"why": "not you"}}).encode() + b"\n"):
            fake = FakeService(self, lambda request, said=said: said)
            sidecar = self.sidecar("--answer-timeout", "300ms", service=fake.path, patient=False)
            wait_until(lambda: fake.asked, "a question")
            self.assertEqual((self.get("/readyz").code, self.get("/health").code), (503, 503), said)
            self.assertEqual(self.get("/livez").code, 200, said)
            self.assertEqual(sidecar.terminate(), 0)

    def test_a_phase_that_it_does_not_know_is_not_ready(self):
        fake = FakeService(self, lambda request: status_line(phase="levitating"))
        self.sidecar(service=fake.path)
        health = wait_until(lambda: [h for h in [self.health()] if h["instance"]], "the service")[0]
        self.assertEqual((health["status"], health["phase"], health["ready"]), ("unknown", "levitating", False))
        self.assertEqual(self.get("/startupz").code, 200)

    def test_a_sealed_service_is_not_ready(self):
        self.sidecar(service=FakeService(self, lambda request: status_line(sealed=True)).path)
        wait_until(lambda: self.health()["instance"], "the service")
        self.assertEqual(self.get("/readyz").code, 503)


class Command(BatondCase):
    def test_help_has_examples_and_goes_to_stdout(self):
        done = process.run(BATOND, "--help", check=0)
        for word in ("/readyz", "Examples:", "--token-file", "Exit codes"):
            self.assertIn(word, done.stdout)
        self.assertEqual(process.run(BATOND).status, 1)
        self.assertIn("batond ", process.run(BATOND, "--version", check=0).stdout)

    def test_what_does_not_fit_is_refused_in_one_line(self):
        service = ("--service", self.data)
        for options, words in (((), "--service"), (service + ("--frobnicate",), "no such option"),
                               (service + ("--listen", "localhost:1"), "127.0.0.1:9464"),
                               (service + ("--listen", "127.0.0.1:65536"), "127.0.0.1:9464"),
                               (service + ("--tls-cert", "x"), "both"), (service + ("--connections", "1"), "4 to 4096"),
                               (service + ("--answer-timeout", "1ms"), "10ms"), (service + ("extra",), "extra"),
                               (service + ("--token-file", self.root / "none"), "token"),
                               (service + ("--tls-cert", self.root, "--tls-key", self.root), "PEM")):
            done = process.run(BATOND, "--log-level", "error", "--listen", "127.0.0.1:0", *options)
            self.assert_refused(done, 1, words)
            self.assertEqual(done.stdout, "")

    def test_an_address_that_is_taken_is_named(self):
        self.sidecar()
        done = process.run(BATOND, "--service", self.data, "--listen", ":".join(self.address))
        self.assert_refused(done, 7, "another process listens there", self.address[1])

    def test_a_path_that_is_too_long_for_a_socket_is_reached(self):
        self.data = self.root / ("d" * 120)
        self.control = str(self.data / "control.sock")
        os.mkdir(self.data)
        self.start()
        self.sidecar(service=self.control)
        self.ready()


if __name__ == "__main__":
    main()
