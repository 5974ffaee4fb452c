"""batond beside the matching engine: an upgrade as an operator sees it, over HTTP alone."""
import os

from batond_case import BatondCase, process, wait_until
from cli_case import TOY
from service_client import NEW, OLD, Client, ServiceCase, cancel, order
from workdir import main


class Upgrade(BatondCase):
    setUp = ServiceCase.setUp
    engine = ServiceCase.engine

    def test_drain_and_the_next_version_are_seen_by_their_digests_and_nonces(self):
        self.root = self.directory
        control = os.path.join(os.path.dirname(self.orders_path), "control")
        self.sidecar("--token-file", self.token_file(), service=control)
        old = self.engine(program=OLD)
        client = Client(self, old.listen)
        for number in range(1, 41):
            client.ack(order(1, number, price=100 + number % 3))
        client.ack(cancel(1, 41, 1))
        self.ready()
        before = wait_until(lambda: [h for h in [self.health()] if h["seq"] == 41], "the newest seq")[0]
        self.assertEqual((before["version"], before["instance"]["nonce"]), ("1.0.0", old.ready["nonce"]))
        self.assertEqual(wait_until(lambda: self.metric("baton_released_seq") == 41, "its number"), True)
        self.assertEqual(self.post("/snapshot", body='{"nonce":"%s"}' % old.ready["nonce"]).json()["snapshot"]["last_seq"], 41)

        ended = self.post("/drain?wait=yes", body='{"nonce":"%s"}' % old.ready["nonce"])
        self.assertEqual((ended.code, ended.json()["seq"], old.wait()), (200, 41, 0))
        wait_until(lambda: self.get("/readyz").code == 503, "the end of readiness")

        new = self.engine(program=NEW)
        self.ready()
        after = self.health()
        self.assertEqual((after["version"], after["instance"]["nonce"]), ("1.1.0", new.ready["nonce"]))
        self.assertEqual((after["seq"], after["epoch"]), (41, before["epoch"] + 1))
        self.assertEqual((after["state_digest"], after["effect_digest"]),
                         (before["state_digest"], before["effect_digest"]))
        self.assertEqual(after["compatibility"], {"min_agent_version": "1.0.0", "max_agent_version": "1.2.0"})
        self.assertEqual(self.post("/drain", body='{"nonce":"%s"}' % old.ready["nonce"]).code, 409)
        self.assertTrue(new.running())
        self.assertIn('version="1.1.0"', self.get("/metrics").text)
        self.assertEqual(process.Process.terminate(new), 0)


class Handover(BatondCase):
    def test_it_is_asked_for_over_http_and_seen_from_both_sides(self):
        old = self.start()
        self.client().add(1, 1)
        self.sidecar("--token-file", self.token_file())
        self.ready()
        there = (self.batond, self.address)
        standby = self.root / "standby"
        new = self.spawn(TOY, "run", "--dir", standby, "--listen", self.listen, "--standby-of", self.data)
        self.sidecar(service=standby)
        here = (self.batond, self.address)
        health = wait_until(lambda: [h for h in [self.health()] if h["phase"] == "following" and h["seq"] == 1],
                            "the standby")[0]
        self.assertEqual((health["status"], health["ready"], self.get("/startupz").code), ("standby", False, 200))
        self.batond, self.address = there
        answer = self.post("/handover", body='{"nonce":"%s","to":"%s","max_gap_ms":60000}' % (
            old.ready["nonce"], health["instance"]["nonce"]))
        self.assertEqual(answer.code, 200, answer)
        self.assertEqual(old.wait(), 0, old.err())
        self.batond, self.address = here
        self.ready()
        health = self.health()
        self.assertEqual((health["status"], health["epoch"], health["instance"]["pid"]), ("healthy", 2, new.pid))


if __name__ == "__main__":
    main()
