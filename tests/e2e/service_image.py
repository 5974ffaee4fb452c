"""The matching engine takes its snapshots in the form image: killed under load, drained, followed by the next version."""
import json
import os
import socket

import process
from service_client import NEW, OLD, ServiceCase, order
from workdir import DEADLINE_S, connect_unix, main, seed

LOAD = process.program("exchange-load")
COMMANDS = 30000


class Images(ServiceCase):
    FORM = ("--snapshot-form", "image", "--ticks", "client")

    def ask(self, word):
        """The answer of the control socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(DEADLINE_S)
            connect_unix(control, os.path.join(os.path.dirname(self.orders_path), "control"))
            control.sendall(json.dumps({"baton": 1, "do": word}).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                part = control.recv(65536)
                self.assertTrue(part, "the control socket hung up")
                answer += part
        return json.loads(answer)

    def load(self, engine):
        return self.spawn(LOAD, "--connect", engine.listen, "--virtual-time", "--orders", COMMANDS, "--rate", 20000,
                          "--seed", seed() % (1 << 31), "--acks-out", self.directory / "acks", "--json",
                          self.directory / "load.json")

    def at_rest(self, door, program=OLD):
        return process.run(program, "baton", door, self.data, "-o", "json", check=0).json()

    def assert_image_and_journal_agree(self):
        """What the newest image gives, and what all entries since the first one give."""
        found = self.at_rest("replay")
        self.assertEqual(found["hydrate"]["snapshot_form"], "image")
        replayed = self.at_rest("verify")["replay"]
        self.assertEqual(replayed["hydrate"]["snapshot_form"], "")
        for name in ("seq", "state_digest", "effect_digest", "effects"):
            self.assertEqual(found[name], replayed[name], name)

    def wait_for_a_named_image(self, engine, load):
        """When a second one is published the first one's name is durable. On a slow machine the load is over before the first
        one is: then there is none to add, and an ack of a later command says the same."""
        taken = lambda: self.ask("status")["snapshot"]["taken"]  # noqa: E731
        self.wait_until(lambda: taken() > 1 or (not load.running() and taken() == 1), "a snapshot that is named")
        if taken() == 1:
            self.client(engine).ack(order(9999, 1))

    def test_killed_under_load_it_goes_on_from_an_image_and_nothing_is_lost(self):
        options = (*self.FORM, "--snapshot-every", 1500)
        engine = self.engine(*options)
        load = self.load(engine)
        starts = 0
        for cut in (1, 2, 3):
            self.wait_until(lambda: not load.running() or self.ask("status")["seq"] > cut * 6000, "the load")
            if cut == 1:
                self.wait_for_a_named_image(engine, load)
            released = self.ask("status")["released_seq"]
            engine.kill()
            engine = self.engine(*options)
            hydrate = engine.ready["hydrate"]
            self.assertGreaterEqual(engine.ready["seq"], released)
            self.assertEqual(hydrate["snapshots_skipped"], hydrate["snapshot_skipped_why"].count("nothing durable"))
            starts += hydrate["snapshot_form"] == "image"
        self.assertEqual(starts, 3)
        self.assertEqual(load.wait(), 0, load.err())
        summary = json.loads((self.directory / "load.json").read_text())
        self.assertEqual((summary["acked"], summary["refused"], summary["conflicts"]), (summary["commands"], 0, 0))
        self.assertEqual(engine.terminate(), 0)
        self.assert_image_and_journal_agree()

    def test_a_request_and_a_drain_take_it_and_the_next_version_loads_it(self):
        engine = self.engine(*self.FORM)
        client = self.client(engine)
        for number in range(1, 101):
            client.ack(order(1, number))
        taken = self.ask("snapshot")["snapshot"]
        self.assertEqual((taken["last_seq"], taken["last_form"]), (100, "image"))
        self.assertIn(taken["last_image"]["by"], ("live", "fork", "stop"))
        self.assertEqual(taken["last_image"]["why"] == "", taken["last_image"]["by"] == "live")
        for number in range(101, 151):
            client.ack(order(1, number))
        self.assertEqual(engine.terminate(), 0)
        self.assert_image_and_journal_agree()

        engine = self.engine(*self.FORM, program=NEW)
        hydrate = engine.ready["hydrate"]
        self.assertEqual((hydrate["snapshot_form"], hydrate["snapshot_seq"], hydrate["replayed_entries"]),
                         ("image", 150, 0))
        client = self.client(engine)
        client.ack(order(1, 151))
        # Not finalized: what it writes now the version before must be able to read.
        self.assertEqual(self.ask("snapshot")["snapshot"]["last_form"], "portable")
        self.assertEqual(engine.terminate(), 0)
        self.assertEqual(self.at_rest("replay")["hydrate"]["snapshot_form"], "portable")

    def test_without_an_option_it_serves_with_images_and_drains_with_a_portable_one(self):
        options = ("--ticks", "client", "--retire", "yes", "--journal-max", "64MiB")
        engine = self.engine(*options)
        client = self.client(engine)
        for number in range(1, 101):
            client.ack(order(1, number))
        taken = self.ask("snapshot")["snapshot"]
        self.assertEqual((taken["last_form"], taken["last_form_why"]), ("image", "for a start of this layout"))
        engine.kill()
        engine = self.engine(*options)
        self.assertEqual(engine.ready["hydrate"]["snapshot_form"], "image")
        client = self.client(engine)
        for number in range(101, 151):
            client.ack(order(1, number))
        self.assertEqual(engine.terminate(), 0)
        log = engine.err().splitlines()
        self.assertEqual([" form=portable " in line for line in log if " engine.last_snapshot " in line], [True])
        self.assertEqual([" by=fork " in line for line in log if " engine.portable_taken " in line], [True])

        # One and the same state, whatever it is loaded from, by either version.
        for program in (OLD, NEW):
            hydrate = self.at_rest("replay", program)["hydrate"]
            self.assertEqual((hydrate["snapshot_form"], hydrate["snapshot_seq"], hydrate["replayed_entries"]),
                             ("portable", 150, 0))
        engine = self.engine(*options, program=NEW)
        self.assertEqual(engine.ready["seq"], 150)
        self.client(engine).ack(order(1, 151))
        self.assertEqual(engine.terminate(), 0)
        self.assertEqual(self.at_rest("verify", NEW)["replay"]["seq"], 151)


if __name__ == "__main__":
    main()
