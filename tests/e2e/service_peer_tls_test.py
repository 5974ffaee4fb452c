"""Following and handing over by TCP with TLS 1.3: who is let in, who is not, and what that costs the service: nothing.

Certificates are made here; both instances are on loopback."""
import json
import os
import shutil
import socket
import ssl
import sys

from certificates import Authority
from cli_case import TOY, TOY_NEXT, process
from handover_case import ENGINE_NEW, ENGINE_OLD, LOAD
from network import Forwarder, first_of
from tcp_case import TcpCase
from workdir import main, wait_until


class TlsCase(TcpCase):
    @classmethod
    def setUpClass(cls):
        from workdir import temp_root
        import tempfile
        cls.folder = tempfile.mkdtemp(prefix="certificates.", dir=temp_root())
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.authority = Authority(cls.folder)
        cls.other_authority = Authority(cls.folder, "other")
        issue = cls.authority.issue
        cls.certificates = {
            "good": issue("good", "toy"),
            "next": issue("next", "toy"),
            "engine": issue("engine", "matching-engine"),
            "expired": issue("expired", "toy", end="20200201000000Z"),
            "future": issue("future", "toy", begin="20900101000000Z"),
            "name": issue("name", "someone-else"),
            "wildcard": issue("wildcard", "*"),
            "server": issue("server", "toy", usage="serverAuth"),
            "stranger": cls.other_authority.issue("stranger", "toy"),
        }

    def tls(self, name="good", authority=None, listen=True):
        certificate, key = self.certificates[name]
        return (*(("--peer-listen", "127.0.0.1:0") if listen else ()), "--peer-cert", certificate, "--peer-key", key,
                "--peer-ca", (authority or self.authority).path)

    def setUp(self):
        super().setUp()
        self.options = self.tls()

    def refusals(self, child):
        return [line for line in child.err().splitlines() if "handover.refused_peer" in line]

    def refused_line(self, child, words):
        """The one line about it, of the active."""
        lines = wait_until(lambda: self.refusals(child), f"a line with {words!r}")
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(words, lines[0])
        return lines[0]

    def address(self):
        host, port = self.address_of(self.data).rsplit(":", 1)
        return host, int(port)

    def connect(self):
        peer = socket.create_connection(self.address(), timeout=120)
        self.addCleanup(peer.close)
        return peer


class Good(TlsCase):
    def test_authority_moves_over_tls(self):
        old, new = self.authority_moves()
        self.assertEqual(self.refusals(old) + self.refusals(new), [])

    def test_a_snapshot_and_large_batches_come_over_tls(self):
        """More than fits a record, a socket's buffers, or one read."""
        self.active("--segment-size", "1MiB")
        client = self.client_of(self.data)
        for number in range(500):
            client.add(number, 1)
        self.service("snapshot", check=0)
        new = self.follower()
        new.send(19)  # SIGSTOP: what comes meanwhile comes at once afterwards
        for number in range(3000):
            client.send(number % 4096, 1)
            if number % 50 == 49:
                for _ in range(50):
                    client.receive()
        new.send(18)
        self.wait_level(new, self.data)
        self.assertIn("handover.snapshot_fetched", new.err())

    def test_to_and_fro_over_tls(self):
        self.to_and_fro(4)

    def test_files_are_read_anew_for_each_connection(self):
        """Another certificate, then another CA in the same files: the next connection has them, nobody restarts."""
        files = self.root / "files"
        files.mkdir()

        def put(name, authority):
            certificate, key = self.certificates[name]
            for source, target in ((certificate, "crt"), (key, "key"), (authority.path, "ca")):
                shutil.copy(source, files / f"{target}.new")
                os.replace(files / f"{target}.new", files / target)
        put("good", self.authority)
        self.options = ("--peer-listen", "127.0.0.1:0", "--peer-cert", files / "crt", "--peer-key", files / "key",
                        "--peer-ca", files / "ca")
        old = self.active()
        self.client_of(self.data).add(1, 1)
        self.options = self.tls()
        first = self.follower()
        put("stranger", self.other_authority)
        third = self.root / "third"
        self.options = self.tls("stranger", self.other_authority)
        self.follower(third)
        self.assertTrue(first.running())
        self.assertEqual(self.client_of(self.data).add(1, 1), "2 1 2")
        self.wait_level(first, self.data)  # who is connected stays
        first.send(15)
        self.assertEqual(first.wait(), 0)
        self.assertEqual(self.refusals(old), [])


class Refused(TlsCase):
    """A standby with the wrong certificate: a line here, a line there, and the orders go on."""

    def assert_standby_refused(self, options, active_words, standby_words, active_options=None):
        self.options = active_options or self.tls()
        old = self.active()
        client = self.client_of(self.data)
        client.add(1, 1)
        refused = process.run(TOY_NEXT, "run", "--dir", self.other, "--standby-of", self.address_of(self.data), *options)
        self.assert_refused(refused, 1, standby_words)
        self.refused_line(old, active_words)
        self.assertEqual(client.add(1, 1), "2 1 2")
        status = self.status_of(self.data)
        self.assertEqual((status["phase"], status["followers"]), ("running", []))

    def test_another_ca(self):
        self.assert_standby_refused(self.tls("stranger"), "its certificate is not signed by the CA of --peer-ca",
                                    "the other end refuses this one's certificate: it is of another CA")

    def test_an_active_of_another_ca(self):
        self.assert_standby_refused(self.tls(), "the other end refuses this one's certificate: it is of another CA",
                                    "its certificate is not signed by the CA of --peer-ca",
                                    self.tls("stranger"))

    def test_expired(self):
        self.assert_standby_refused(self.tls("expired"), "its certificate has expired",
                                    "it has expired, or is not valid yet")

    def test_an_active_whose_certificate_has_expired(self):
        self.assert_standby_refused(self.tls(), "it has expired, or is not valid yet", "its certificate has expired",
                                    self.tls("expired"))

    def test_not_yet_valid(self):
        self.assert_standby_refused(self.tls("future"), "its certificate is not valid yet",
                                    "it has expired, or is not valid yet")

    def test_another_name(self):
        self.assert_standby_refused(self.tls("name"), "its certificate does not name 'toy'",
                                    "it lacks the name of its --peer-name")

    def test_an_active_of_another_name(self):
        self.assert_standby_refused(self.tls(), "it lacks the name of its --peer-name",
                                    "its certificate does not name 'toy'", self.tls("name"))

    def test_a_wildcard_names_nobody(self):
        self.assert_standby_refused(self.tls("wildcard"), "its certificate does not name 'toy'",
                                    "it lacks the name of its --peer-name")

    def test_another_purpose(self):
        self.assert_standby_refused(self.tls("server"), "its certificate is not for this end of a connection",
                                    "it is not for this end of a connection")

    def test_a_standby_without_tls(self):
        self.assert_standby_refused(("--peer-plaintext",), "what it says is no TLS", "the active hung up")

    def test_an_active_without_tls(self):
        self.assert_standby_refused(self.tls(), "does not speak the handover protocol", "what it says is no TLS",
                                    ("--peer-listen", "127.0.0.1:0", "--peer-plaintext"))

    def test_a_standby_that_is_refused_later_says_why_and_is_let_in_again(self):
        """Its journal stands: it goes on trying, and its status has the reason."""
        self.active()
        self.client_of(self.data).add(1, 1)
        self.follower().kill()
        files = self.root / "files"
        files.mkdir()
        for source, target in zip(self.certificates["expired"], ("crt", "key")):
            shutil.copy(source, files / target)
        self.options = ("--peer-cert", files / "crt", "--peer-key", files / "key", "--peer-ca", self.authority.path)
        again = self.run_toy(self.other, *self.options, program=TOY_NEXT, standby_of=self.address_of(self.data))
        self.wait_phase(again, "following")
        said = wait_until(lambda: self.status_of(self.other)["follow"].get("error"), "the reason")
        self.assertIn("it has expired, or is not valid yet", said["why"])
        for source, target in zip(self.certificates["good"], ("crt", "key")):
            shutil.copy(source, files / "new")
            os.replace(files / "new", files / target)
        self.wait_level(again, self.data)
        self.assertEqual(self.client_of(self.data).add(1, 1), "2 1 2")


class Strangers(TlsCase):
    """Who connects and is no instance."""

    def setUp(self):
        super().setUp()
        self.old = self.active()
        self.client = self.client_of(self.data)
        self.client.add(1, 1)

    def assert_undisturbed(self, seq=2):
        self.assertEqual(self.client.add(1, 1), f"{seq} 1 {seq}")
        self.options = self.tls("next")
        self.follower()

    def end_of(self, peer):
        try:
            while peer.recv(65536):
                pass
        except (ConnectionResetError, ssl.SSLError):
            pass

    def context(self, name=None, version=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if name:
            context.load_cert_chain(*self.certificates[name])
        if version:
            context.maximum_version = version
        return context

    def test_no_certificate(self):
        with self.context().wrap_socket(self.connect()) as peer:
            with self.assertRaises(ssl.SSLError) as caught:
                peer.recv(1)
        self.assertIn("CERTIFICATE_REQUIRED", str(caught.exception).upper().replace(" ", "_"))
        self.refused_line(self.old, "it shows no certificate")
        self.assert_undisturbed()

    def test_tls_1_2_only(self):
        with self.assertRaises(ssl.SSLError):
            self.context("good", ssl.TLSVersion.TLSv1_2).wrap_socket(self.connect())
        self.refused_line(self.old, "it does not speak TLS 1.3")
        self.assert_undisturbed()

    def test_garbage(self):
        for number, text in enumerate((b"GET / HTTP/1.1\r\n\r\n", b"BATONHND" + bytes(200), bytes(70000))):
            peer = self.connect()
            peer.sendall(text)
            self.end_of(peer)
            lines = wait_until(lambda: self.refusals(self.old)[number:], "a line")
            self.assertEqual(len(lines), 1)
            self.assertIn("what it says is no TLS", lines[0])
        self.assert_undisturbed()

    def test_what_begins_like_tls_and_is_none(self):
        peer = self.connect()
        peer.sendall(b"\x16\x03\x01\x00\x08" + b"\xff\x00\x00\x04" + bytes(4))
        self.end_of(peer)
        self.refused_line(self.old, "TLS fails")
        self.assert_undisturbed()

    def test_a_handshake_that_stops_in_its_midst(self):
        peer = self.connect()
        peer.sendall(b"\x16\x03\x01\x02\x00\x01")
        self.end_of(peer)
        self.refused_line(self.old, "it has not said who it is in time")
        self.assert_undisturbed()

    def test_silence(self):
        self.end_of(self.connect())
        self.refused_line(self.old, "it has not said who it is in time")
        self.assert_undisturbed()

    def test_a_good_certificate_and_no_message(self):
        """Let in by its certificate, then no message of ours."""
        with self.context("good").wrap_socket(self.connect()) as peer:
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(200))
            got = b""
            while part := peer.recv(65536):
                got += part
        self.assertIn(b"does not speak the handover protocol", got)
        self.refused_line(self.old, "does not speak the handover protocol")
        self.assert_undisturbed()

    def test_a_flood_locks_nobody_out(self):
        """More than there are seats, all silent: a standby gets in, orders go on, and the log is not flooded."""
        self.follower()
        before = self.descriptors()
        flood = [self.connect() for _ in range(60)]
        for number in range(100):
            self.assertEqual(self.client.add(1, 1), f"{number + 2} 1 {number + 2}")
        self.options = self.tls("next")
        third = self.follower(self.root / "third")
        self.assertLess(self.descriptors(), before + 60)
        for peer in flood:
            self.end_of(peer)
        self.assertLess(len(self.refusals(self.old)), 61)
        self.assertEqual(third.terminate(), 0)
        # Which segments are open differs by a few.
        wait_until(lambda: self.descriptors() <= before + 4, "their descriptors to be closed")
        self.assertTrue(self.status_of(self.data)["followers"][0]["following"])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.old.pid}/fd"))


class Start(TlsCase):
    def assert_start_refused(self, words, *options):
        self.assert_refused(process.run(TOY, "run", "--dir", self.data, *options), 1, words)

    def test_what_does_not_fit_together_is_refused_at_the_start(self):
        certificate, key = self.certificates["good"]
        other_key = self.certificates["next"][1]
        ca = self.authority.path
        listen = ("--peer-listen", "127.0.0.1:0")
        self.assert_start_refused("one of them is missing", *listen, "--peer-cert", certificate)
        self.assert_start_refused("--peer-cert is given, too", *self.tls(), "--peer-plaintext")
        self.assert_start_refused("certificate and key don't load", *listen, "--peer-cert", certificate, "--peer-key",
                                  other_key, "--peer-ca", ca)
        self.assert_start_refused("there is no CA certificate", *listen, "--peer-cert", certificate, "--peer-key", key,
                                  "--peer-ca", key)
        self.assert_start_refused("No such file", *listen, "--peer-cert", certificate, "--peer-key", key, "--peer-ca",
                                  self.root / "nowhere")
        open_key = self.root / "open.key"
        shutil.copy(key, open_key)
        os.chmod(open_key, 0o644)
        self.assert_start_refused("every user of this machine can read or write it", *listen, "--peer-cert", certificate,
                                  "--peer-key", open_key, "--peer-ca", ca)


class Exchange(TlsCase):
    """The matching engine under load across two hosts: clients connect again, every order is acked exactly once."""

    def engine(self, program, directory, orders, *options):
        child = self.spawn(program, "run", "--dir", directory, "--listen", f"unix:{orders}", *self.tls("engine"), *options)
        child.directory = directory
        return child

    def test_orders_go_on_across_hosts(self):
        here, there = self.socket_path("here"), self.socket_path("there")
        old = self.engine(ENGINE_OLD, self.data, here)
        self.wait_phase(old, "running")
        router = Forwarder(first_of(here, there))
        self.addCleanup(router.close)
        summary = self.root / "summary.json"
        load = self.spawn(LOAD, "--connect", f"tcp:127.0.0.1:{router.port}", "--orders", "1000000", "--rate", "4000",
                          "--json", summary)
        new = self.engine(ENGINE_NEW, self.other, there, "--standby-of", self.address_of(self.data))
        self.wait_phase(new, "following")
        wait_until(lambda: self.status_of(self.data)["followers"]
                   and self.status_of(self.data)["followers"][0]["following"]
                   and self.status_of(self.data)["seq"] > 2000, "load, and a standby")
        handover = self.handover_under_load(self.data)
        self.assertEqual(handover["state"], "fenced")
        self.assertEqual(old.wait(), 0)
        seq = self.wait_phase(new, "running")["seq"]
        wait_until(lambda: self.status_of(self.other)["released_seq"] > seq + 1000, "orders that the new one takes")
        self.assertEqual(load.terminate(), 0, load.err())
        result = json.loads(summary.read_text())
        self.assertEqual((result["unacked"], result["conflicts"], result["refused"]), (0, 0, 0))
        self.assertGreater(result["acked"], 1000)
        self.assertGreaterEqual(result["connections"], 2)
        print(f"gap {handover['gap_ms']:.1f} ms", file=sys.stderr)
        self.assertEqual(new.terminate(), 0)
        self.assert_one_journal(self.data, self.other)


if __name__ == "__main__":
    main()
