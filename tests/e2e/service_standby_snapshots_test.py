"""A standby that follows for long gets the snapshots that its active takes: its directory stays as small, its own start as short, also
that of one that has just been promoted."""
import socket

from cli_case import TOY_NEXT
from handover_peer import ANSWER, FOLLOW, HELLO, WELCOME, Peer, Relay
from network import Listener, tcp
from service_handover_test import HandoverCase
from service_peer_tcp_test import TcpCase
from workdir import main, wait_until

KEEP = ("--segment-size", "1MiB", "--retire", "yes", "--snapshot-at-drain", "no", "--checkpoint-every", "100")


def snapshots(directory):
    return sorted(path.name for path in (directory / "snapshots").glob("*.manifest"))


def first_segment(directory):
    return min(path.name for path in (directory / "journal").glob("*.seg"))


class Kept:
    """What both ways have in common: grow(), live()."""

    def grow(self, client, count=300):
        for number in range(count):
            client.add(number % 9, 1)
            self.total += 1

    def take_and_wait(self, client):
        self.service("snapshot", check=0)
        taken = self.total
        self.grow(client, 3)  # behind the record that names it
        wait_until(lambda: snapshots(self.other)[-2:] == snapshots(self.data)[-2:] and len(snapshots(self.other)) <= 2
                   and self.status_of(self.other)["rto"]["snapshot_seq"] == taken, "the active's snapshots to be here")
        return taken

    def live(self, active, client, new, again):
        self.total = 0
        first = first_segment(self.other)
        for _ in range(2):
            self.grow(client)
            taken = self.take_and_wait(client)
        wait_until(lambda: first_segment(self.other) > first, "its journal to be retired")
        self.assertEqual(len(snapshots(self.other)), 2)
        new.kill()
        self.grow(client, 20)
        new = again()
        hydrate = self.status_of(self.other)["hydrate"]
        self.assertEqual(hydrate["snapshot_seq"], taken)
        self.assertLess(hydrate["replayed_entries"], 30)
        self.handover(self.data, "--wait", check=0)
        self.assertEqual(active.wait(), 0)
        self.assertEqual(self.wait_phase(new, "running")["rto"]["snapshot_seq"], taken)
        self.assert_one_journal(self.data, self.other)
        new.kill()
        return taken

    def assert_starts_alone(self, taken):
        status = self.status_of(self.other)
        self.assertEqual((status["hydrate"]["snapshot_seq"], status["hydrate"]["replayed_entries"]), (taken, self.total - taken))


class OneHost(Kept, HandoverCase):
    def test_by_a_second_name_for_the_same_files(self):
        active, client = self.start(*KEEP), self.client()
        new = self.standby(None, None, *KEEP)
        taken = self.live(active, client, new, lambda: self.standby(None, None, *KEEP))
        self.assertEqual([path.stat().st_nlink for path in (self.other / "snapshots").glob("*.chunks")], [2, 2])
        new = self.run_toy(self.other, *KEEP, program=TOY_NEXT)
        self.wait_phase(new, "running")
        self.assert_starts_alone(taken)
        self.assertEqual(self.client().add(1, 1).split()[0], str(self.total + 1))

    def test_what_is_there_but_not_whole_is_passed_over(self):
        """The newest is damaged on the way: the one before, and more journal."""
        self.start(*KEEP)
        client = self.client()
        new = self.standby(None, None, *KEEP)
        self.total = 0
        self.grow(client, 30)
        before = self.take_and_wait(client)
        self.take_and_wait(client)
        new.kill()
        chunks = max((self.other / "snapshots").glob("*.chunks"))
        data = bytearray(chunks.read_bytes())
        chunks.unlink()  # another file, under that name here alone
        data[10] ^= 1
        chunks.write_bytes(data)
        self.standby(None, None, *KEEP)
        self.assertEqual(self.status_of(self.other)["hydrate"]["snapshot_seq"], before)


class FarRelay(Relay):
    """As Relay, by TCP. `live`: the standby's connections that have not ended."""

    def __init__(self, case, port, pass_on):
        self.dial, self.live = tcp(port), []
        super().__init__(case, case.socket_path("relay"), None, pass_on)
        self.by_tcp = Listener(socket.create_server(("127.0.0.1", 0)), lambda end: self.talk(Peer(end)))
        case.addCleanup(self.by_tcp.close)
        self.address = f"127.0.0.1:{self.by_tcp.listener.getsockname()[1]}"

    def connect(self):
        return Peer(self.dial())

    def talk(self, front):
        self.live.append(front)
        try:
            super().talk(front)
        finally:
            self.live.remove(front)


class TwoHosts(Kept, TcpCase):
    def test_by_a_connection_of_its_own(self):
        active = self.active(*KEEP)
        client = self.client_of(self.data)
        new = self.follower(None, None, *KEEP)
        taken = self.live(active, client, new, lambda: self.follower(None, None, *KEEP))
        self.assertEqual([path.stat().st_nlink for path in (self.other / "snapshots").glob("*.chunks")], [1, 1])
        self.assertGreater(taken, 600)

    def test_what_brings_them_gives_no_word(self):
        """It greets beside the standby's own connection, and may come when that one has its answer out: no leave to fall back (M11)."""
        active = self.active(*KEEP)
        client, port = self.client_of(self.data), int(self.address_of(self.data).rsplit(":", 1)[1])
        self.total = 0
        for _ in range(2):
            self.grow(client, 30)
            self.service("snapshot", check=0)
        self.grow(client, 3)
        said, held, holds = [], [], []

        def pass_on(from_active, message):
            if not from_active:
                said.append(message)
            if not from_active and message.type == ANSWER:
                holds.append(message)
            if not from_active or not holds:
                return [message]
            held.append(message)
            return []
        relay = FarRelay(self, port, pass_on)
        new = self.run_toy(self.other, *self.options, *KEEP, program=TOY_NEXT, standby_of=relay.address)
        self.wait_level(new, self.data)
        wait_until(lambda: len(snapshots(self.other)) == 2, "the older one to be brought, too")
        follows = [message.type for message in said].index(FOLLOW)
        brings, = (message for message in said[follows:] if message.type == HELLO)
        asked = self.ask_handover(self.data, "--max-gap", "10s")
        wait_until(lambda: "reached=granted" in active.err(), "the grant, of which the new one does not hear yet")
        late = Peer(tcp(port)())
        self.addCleanup(late.close)
        late.socket.sendall(brings.header + brings.body)
        self.assertEqual(late.hear().type, WELCOME)
        for _ in range(3):  # a turn of its loop each
            self.assertEqual(self.status_of(self.data)["handover"]["state"], "granted", active.err())
        self.assertNotIn("handover.word", active.err())
        with relay.lock:
            holds.clear()
            for message in held:
                for front in relay.live:
                    front.socket.sendall(message.header + message.body)
        self.assertEqual(self.wait_phase(new, "running")["epoch"], 2)
        self.assertEqual((asked.wait(), active.wait()), (0, 0))
        self.assert_one_journal(self.data, self.other)


if __name__ == "__main__":
    main()
