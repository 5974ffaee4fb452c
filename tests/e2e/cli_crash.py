"""kill -9 of `baton journal append --ack` at random moments: every acknowledged line is there, in order, and nothing else."""
import random

from cli_case import BATON, CliCase, uring_works
from workdir import main, seed, wait_until

LINES = 20000
KILLS = 4


class Crash(CliCase):
    def test_no_acknowledged_line_is_lost_on_uring(self):
        root = self.workdir()
        if not uring_works(root):
            self.skipTest("io_uring is denied here")
        self.kill_and_go_on(root, "uring")

    def test_no_acknowledged_line_is_lost_on_threads(self):
        self.kill_and_go_on(self.workdir(), "threads")

    def acknowledged(self, path):
        """The last whole `durable SEQ` line; they are dense and in order."""
        text = path.read_text()
        lines = text[:text.rfind("\n") + 1].splitlines()
        if lines:
            first = int(lines[0].split()[1])
            self.assertEqual(lines, [f"durable {first + i}" for i in range(len(lines))])
        return int(lines[-1].split()[1]) if lines else 0

    def kill_and_go_on(self, root, backend):
        rng = random.Random(seed())
        journal = root / "journal"
        rounds = []  # (lines, the seq acknowledged last)
        seen = []    # what was there right after a kill: writes in flight may still land, and are adopted then
        for number in range(KILLS):
            wanted = [f"{number}:{i}:" + "y" * rng.choice((0, 10, 900)) for i in range(LINES)]
            source = root / "input"
            source.write_text("".join(f"{line}\n" for line in wanted))
            with open(source, "rb") as stdin:
                child = self.spawn(BATON, "journal", "append", "--ack", "--io", backend, journal, stdin=stdin)
            kill_at = rng.choice((0, 1, rng.randrange(1, 60_000), rng.randrange(1, 250_000)))
            wait_until(lambda: child.stdout_path.stat().st_size >= kill_at or not child.running(), "acknowledgements")
            child.kill()
            rounds.append((wanted, self.acknowledged(child.stdout_path)))
            self.assertIn(self.baton("journal", "verify", journal).status, (0, 10))
            seen.append(self.payloads(journal))

        self.append(journal, ["the end"], "--ack", "--io", backend)
        self.baton("journal", "verify", journal, check=0)
        final = self.payloads(journal)
        for early in seen:
            self.assertTrue(final[:len(early)] == early, "an entry that was there is gone")
        at = 0
        for number, (wanted, acked) in enumerate(rounds):
            count = 0
            while at + count < len(final) and final[at + count].startswith(f"{number}:"):
                count += 1
            self.assertTrue(final[at:at + count] == wanted[:count], f"round {number} is no prefix of what was sent")
            at += count
            self.assertGreaterEqual(at, acked, f"round {number}: an acknowledged line is lost")
        self.assertEqual(final[at:], ["the end"])


if __name__ == "__main__":
    main()
