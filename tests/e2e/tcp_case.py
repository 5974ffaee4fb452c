"""What the tests of a handover by TCP share, with TLS (service_peer_tls_test.py) or without."""
from cli_case import TOY, TOY_NEXT
from handover_case import HandoverCase
from workdir import wait_until

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

    def wait_running(self, directory):
        wait_until(lambda: self.status_of(directory)["phase"] == "running", f"{directory} to serve")

    def authority_moves(self):
        """The whole of it, with nobody in its way. The old one and the new one: both have ended."""
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
        return old, new

    def to_and_fro(self, rounds):
        """Two warm instances; the old one follows where the new one says that it listens."""
        keep = ("--after-handover", "standby")
        self.active(*keep)
        self.client_of(self.data).add(1, 1)
        self.follower(None, None, *keep)
        directories = [self.data, self.other]
        addresses = {directory: self.address_of(directory) for directory in directories}
        for number in range(rounds):
            active, standby = directories[number % 2], directories[(number + 1) % 2]
            self.wait_followed(active)
            self.handover(active, check=0)
            self.wait_running(standby)
            self.assertEqual(self.client_of(standby).add(1, 1), f"{number + 2} 1 {number + 2}")
            self.assertEqual(self.address_of(standby), addresses[standby])
