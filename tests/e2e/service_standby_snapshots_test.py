"""A standby that follows for long gets the snapshots that its active takes: its directory stays as small, its own start as short, also
that of one that has just been promoted."""
from cli_case import TOY_NEXT
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


class TwoHosts(Kept, TcpCase):
    def test_by_a_connection_of_its_own(self):
        active = self.active(*KEEP)
        client = self.client_of(self.data)
        new = self.follower(None, None, *KEEP)
        taken = self.live(active, client, new, lambda: self.follower(None, None, *KEEP))
        self.assertEqual([path.stat().st_nlink for path in (self.other / "snapshots").glob("*.chunks")], [1, 1])
        self.assertGreater(taken, 600)


if __name__ == "__main__":
    main()
