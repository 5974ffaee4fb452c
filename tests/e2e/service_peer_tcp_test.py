"""Following and handing over by TCP: the address, the refusals at the start, and a whole handover. TLS: service_peer_tls_test.py."""
import socket

from cli_case import TOY, TOY_NEXT, process
from service_handover_test import HandoverCase
from workdir import main, wait_until

PLAIN = ("--peer-listen", "127.0.0.1:0", "--peer-plaintext")


class TcpCase(HandoverCase):
    """Each instance serves its own clients: descriptors are not passed over TCP."""

    options = PLAIN

    def setUp(self):
        super().setUp()
        self.clients_of = {}

    def run_toy(self, directory, *options, program=TOY, standby_of=None, env=None):
        self.listen = self.clients_of.setdefault(directory, self.socket_path("clients"))
        return super().run_toy(directory, *options, program=program, standby_of=standby_of, env=env)

    def active(self, *options, **keywords):
        child = self.run_toy(self.data, *self.options, *options, **keywords)
        self.wait_phase(child, "running")
        return child

    def address_of(self, directory):
        return self.status_of(directory)["peer_listen"]

    def follower(self, directory=None, of=None, *options, program=TOY_NEXT, env=None):
        directory, of = directory or self.other, of or self.data
        child = self.run_toy(directory, *self.options, *options, program=program, standby_of=self.address_of(of),
                             env=env)
        self.wait_level(child, of)
        return child

    def client_of(self, directory):
        self.listen = self.clients_of[directory]
        return self.client()


class Plain(TcpCase):
    def test_authority_moves_by_tcp(self):
        old = self.active()
        client = self.client_of(self.data)
        for number in range(30):
            client.add(number % 5, 1)
        new = self.follower()
        follower = self.status_of(self.data)["followers"][0]
        self.assertEqual((follower["remote"], follower["address"]), (True, self.address_of(self.other)))
        answer = self.handover(self.data, "--wait", check=0).json()
        self.assertEqual(answer["handover"]["state"], "fenced")
        self.assertEqual(old.wait(), 0)
        self.assertEqual(self.wait_phase(new, "running")["epoch"], 2)
        self.assertEqual(self.client_of(self.other).add(0, 1), "31 0 7")
        self.assertEqual(new.terminate(), 0)
        self.assert_one_journal(self.data, self.other)

    def test_two_warm_instances_hand_over_to_and_fro(self):
        """The old one follows where the new one says that it listens."""
        keep = ("--after-handover", "standby")
        self.active(*keep)
        self.client_of(self.data).add(1, 1)
        self.follower(None, None, *keep)
        addresses = {self.data: self.address_of(self.data), self.other: self.address_of(self.other)}
        directories = [self.data, self.other]
        for number in range(6):
            active, standby = directories[number % 2], directories[(number + 1) % 2]
            wait_until(lambda: self.status_of(active)["phase"] == "running" and any(
                f["following"] and f["durable_seq"] == self.status_of(active)["durable_seq"]
                for f in self.status_of(active)["followers"]), "the other one to follow")
            self.handover(active, check=0)
            self.wait_running(standby)
            self.assertEqual(self.client_of(standby).add(1, 1), f"{number + 2} 1 {number + 2}")
            self.assertEqual(self.address_of(standby), addresses[standby])

    def wait_running(self, directory):
        wait_until(lambda: self.status_of(directory)["phase"] == "running", f"{directory} to serve")

    def test_a_snapshot_comes_by_tcp(self):
        self.active("--segment-size", "1MiB", "--retire", "yes")
        client = self.client_of(self.data)
        for number in range(50):
            client.add(number, 1)
        self.service("snapshot", check=0)
        client.add(0, 1)
        self.assertIn("handover.snapshot_fetched", self.follower().err())

    def test_a_standby_does_not_listen(self):
        self.active()
        self.follower()
        host, port = self.address_of(self.other).rsplit(":", 1)
        with socket.socket() as peer, self.assertRaises(ConnectionRefusedError):
            peer.connect((host, int(port)))

    def assert_start_refused(self, words, *options, status=1):
        self.assert_refused(process.run(TOY, "run", "--dir", self.data, *options), status, words)
        self.assertFalse((self.data / "journal").exists())

    def test_tcp_without_tls_is_refused_at_the_start(self):
        self.assert_start_refused("TCP without TLS is not protected", "--peer-listen", "127.0.0.1:0")
        self.assert_start_refused("TCP without TLS is not protected", "--standby-of", "127.0.0.1:7460")
        for far in ("0.0.0.0:0", "[::]:0", "192.0.2.1:7460"):
            self.assert_start_refused("--peer-plaintext is for loopback", "--peer-listen", far, "--peer-plaintext")
        self.assert_start_refused("--peer-plaintext is for loopback", "--standby-of", "192.0.2.1:7460",
                                  "--peer-plaintext")

    def test_addresses_that_are_none_are_refused_at_the_start(self):
        for text in ("localhost:1", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:", ":1", "[::1:1"):
            self.assert_start_refused("does not fit", "--peer-listen", text, "--peer-plaintext")

    def test_the_address_of_another_process_is_refused_at_the_start(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            self.assert_start_refused("another process listens there", "--peer-plaintext", "--peer-listen",
                                      f"127.0.0.1:{other.getsockname()[1]}", status=7)


if __name__ == "__main__":
    main()
