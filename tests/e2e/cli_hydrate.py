"""A start that is killed in the middle of its replay, and the one after it (S1, S2): a real service, a real SIGKILL, at a
chosen entry."""
from cli_case import ServiceCase, flip, signal
from workdir import main

ENTRIES = 1000
KEEP = ("--checkpoint-every", 100, "--hydrate-snapshots", 200)


class Killed(ServiceCase):
    def setUp(self):
        super().setUp()
        child = self.start("--checkpoint-every", 100, "--snapshot-at-drain", "no")
        client = self.client()
        for number in range(0, ENTRIES, 50):
            for _ in range(50):
                client.send(number % 7, 1 + number)
            for _ in range(50):
                self.assertNotIn("error", client.receive())
        client.close()
        self.assertEqual(child.terminate(), 0, child.err())
        self.digest = self.door("digest", self.data, "-o", "json", check=0).json()["state_digest"]

    def start_and_die(self, at):
        child = self.start(*KEEP, "--die-at", at, ready=False)
        self.assertEqual(child.wait(), -signal.SIGKILL, child.err())
        return child

    def check(self, child, snapshot_seq, resumed_seq):
        hydrate = child.ready["hydrate"]
        self.assertEqual((hydrate["snapshot_seq"], hydrate["resumed_from_seq"], hydrate["replayed_entries"]),
                         (snapshot_seq, resumed_seq, ENTRIES - snapshot_seq), child.err())
        status = self.status()
        self.assertEqual((status["seq"], status["state_digest"]), (ENTRIES, self.digest))
        self.assertEqual(status["hydrate"]["resumed_from_seq"], resumed_seq)
        return hydrate

    def test_the_next_start_goes_on_from_there(self):
        killed = self.start_and_die(777)
        self.assertIn("engine.milestone seq=600", killed.err())
        self.assertNotIn("engine.milestone_failed", killed.err())
        child = self.start(*KEEP)
        hydrate = self.check(child, 600, 600)
        self.assertEqual((hydrate["kept"], hydrate["kept_seq"]), (1, 800))
        self.assertIn("resumed_from_seq=600", child.err())
        # What it had kept is a generation now: a kill, and the next start begins with it.
        child.send(signal.SIGKILL)
        child.wait()
        self.check(self.start(*KEEP), 800, 0)

    def test_each_start_comes_further_than_the_one_before(self):
        for at, seq in ((450, 400), (650, 600), (999, 800)):
            self.assertIn(f"engine.milestone seq={seq}", self.start_and_die(at).err())
        self.check(self.start(*KEEP), 800, 800)

    def test_a_damaged_one_is_passed_over(self):
        self.start_and_die(777)
        chunks, = (self.data / "snapshots").glob("*.chunks")
        flip(chunks, 20)
        child = self.start("--hydrate-snapshots", "no")
        hydrate = self.check(child, 0, 0)
        self.assertEqual((hydrate["snapshots_skipped"], hydrate["kept"]), (1, 0))
        self.assertIn("the bytes of a chunk do not fit its digest", hydrate["snapshot_skipped_why"])

    def test_without_it_the_next_start_begins_at_the_beginning(self):
        child = self.start("--hydrate-snapshots", "no", "--die-at", 777, ready=False)
        self.assertEqual(child.wait(), -signal.SIGKILL)
        self.check(self.start(), 0, 0)

    def test_what_is_no_distance_is_refused(self):
        for text in ("0", "-1", "often"):
            child = self.start("--hydrate-snapshots", text, ready=False)
            self.assertEqual(child.wait(), 1)
            self.assertIn("--hydrate-snapshots", child.err())


if __name__ == "__main__":
    main()
