"""Following and handing over by TCP: the address, the refusals at the start, and a whole handover. TLS: service_peer_tls_test.py."""
import socket

from cli_case import TOY, process
from tcp_case import TcpCase
from workdir import main


class Plain(TcpCase):
    def test_authority_moves_by_tcp(self):
        self.authority_moves()

    def test_two_warm_instances_hand_over_to_and_fro(self):
        self.to_and_fro(6)

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
