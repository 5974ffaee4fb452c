"""What the tests share in which somebody talks to an instance's handover socket who is none: orders go on meanwhile."""
import os
import pathlib

from handover_case import HandoverCase
from handover_peer import Peer
from workdir import SANITIZE


class PeerCase(HandoverCase):
    def setUp(self):
        super().setUp()
        self.active = self.start()
        self.served = self.client()
        self.orders = 0

    def assert_serves(self):
        """The next order is the next entry, and durable."""
        self.orders += 1
        self.assertEqual(self.served.add(1, 1), f"{self.orders} 1 {self.orders}")

    def peer(self):
        peer = Peer.connect(self.data / "handover.sock")
        self.addCleanup(peer.close)
        return peer

    def metrics(self, where=None):
        from cli_control import Connection
        connection = Connection(str(where or self.control))
        try:
            return connection.ask({"baton": 1, "do": "metrics"})["metrics"]
        finally:
            connection.socket.close()

    def faults(self, why, where=None):
        for line in self.metrics(where).splitlines():
            if line.startswith(f'baton_handover_faults_total{{why="{why}"}}'):
                return int(float(line.split()[-1]))
        raise AssertionError(f"no counter of {why}")

    def descriptors(self, child=None):
        return len(os.listdir(f"/proc/{(child or self.active).pid}/fd"))

    def memory(self, child=None):
        for line in pathlib.Path(f"/proc/{(child or self.active).pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
        raise AssertionError("no VmRSS")

    def assert_grew_little(self, before):
        if not SANITIZE:  # a sanitizer keeps what was freed
            self.assertLess(self.memory() - before, 64 << 20)
