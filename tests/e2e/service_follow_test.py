"""How a standby keeps up with its active. Real processes on one host."""
import pathlib
import resource

from service_handover_test import HandoverCase
from workdir import main, wait_until


def loop_of(child):
    """How often its loop has slept, and the seconds of a processor that it has used."""
    task = pathlib.Path(f"/proc/{child.pid}/task/{child.pid}")
    lines = (task / "status").read_text().splitlines()
    sleeps = int(next(line.split()[1] for line in lines if line.startswith("voluntary_ctxt_switches")))
    return sleeps, int((task / "schedstat").read_text().split()[0]) / 1e9


class HeldBack(HandoverCase):
    def test_a_standby_whose_journal_has_no_room_sleeps_until_it_has(self):
        """It must not spin on the socket that it can't read from: that starves those who could make room (J9)."""
        self.start("--segment-size", "1MiB")
        client = self.client()
        client.add(1, 1)
        standby = self.standby(None, None, "--segment-size", "1MiB")
        soft, hard = resource.prlimit(standby.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(standby.pid, resource.RLIMIT_NOFILE, (3, hard))  # no next segment can be made
        number = 1

        def add(count):
            nonlocal number
            for _ in range(count):
                number += 1
                self.assertEqual(client.add(1, 1), f"{number} 1 {number}")

        def refused():
            add(32)
            return "journal.no_space" in standby.err()

        wait_until(refused, "the standby to be refused its next segment")
        add(300)  # a batch each: more than the segment has that is written to
        status = self.status_of(self.data)
        self.assertEqual(status["durable_seq"], number)
        self.assertLess(status["followers"][0]["durable_seq"], number)
        sleeps, used = loop_of(standby)
        wait_until(lambda: loop_of(standby)[0] >= sleeps + 100, "the standby to sleep between its looks")
        now_sleeps, now_used = loop_of(standby)
        self.assertLess((now_used - used) / (now_sleeps - sleeps), 0.005)  # seconds of work, however long it took

        resource.prlimit(standby.pid, resource.RLIMIT_NOFILE, (soft, hard))
        self.wait_level(standby, self.data)
        self.assertEqual(standby.terminate(), 0)
        self.assert_one_journal(self.data, self.other)


if __name__ == "__main__":
    main()
