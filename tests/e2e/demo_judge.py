"""The demo's judge finds what it is there to find."""
import json
import sys

from workdir import SOURCE, TestCase, main

sys.path.insert(0, str(SOURCE / "scripts" / "rig"))
import demo_summary  # noqa: E402
import judge  # noqa: E402


def ack(client_seq, seq, outcome=0, acked_ns=1):
    return {"client": 1, "client_seq": client_seq, "seq": seq, "outcome": outcome, "acked_ns": acked_ns}


class Judge(TestCase):
    def test_every_acked_command_in_the_journal_once_is_good(self):
        self.assertEqual(judge.judge([ack(1, 10), ack(2, 11)], {(1, 1): [10], (1, 2): [11]}), (0, 0))

    def test_an_acked_command_that_the_journal_lacks_is_lost(self):
        self.assertEqual(judge.judge([ack(1, 10), ack(2, 11)], {(1, 1): [10]}), (1, 0))

    def test_an_ack_that_names_another_entry_is_lost(self):
        self.assertEqual(judge.judge([ack(1, 10)], {(1, 1): [12]}), (1, 0))

    def test_a_command_journaled_twice_is_doubled(self):
        self.assertEqual(judge.judge([ack(1, 10)], {(1, 1): [10, 12]}), (0, 1))

    def test_what_was_never_acked_or_never_applied_is_not_lost(self):
        self.assertEqual(judge.judge([ack(1, 0, acked_ns=0), ack(2, 0, outcome=65)], {}), (0, 0))

    def test_effects_are_equal_only_line_by_line(self):
        directory = self.workdir()
        for name, rows in (("a", [1, 2]), ("b", [1, 2]), ("c", [1, 3]), ("d", [1])):
            (directory / name).write_text("".join(json.dumps({"epoch": ord(name), "seq": row}) + "\n" for row in rows))
        self.assertTrue(judge.same_effects(directory / "a", directory / "b"))
        self.assertFalse(judge.same_effects(directory / "a", directory / "c"))
        self.assertFalse(judge.same_effects(directory / "a", directory / "d"))
        self.assertFalse(judge.same_effects(directory / "d", directory / "a"))

    def test_quantiles_are_values_that_so_many_are_not_above(self):
        values = [n * 1_000_000 for n in range(1, 101)]
        self.assertEqual([demo_summary.quantile(values, q) for q in (0.5, 0.99, 0.999)], [50, 99, 100])
        self.assertEqual(demo_summary.quantile([7_000_000], 0.999), 7)
        self.assertIsNone(demo_summary.quantile([], 0.5))

    def test_a_gap_is_the_longest_time_without_an_ack_around_a_step(self):
        acked = [n * 1_000_000 for n in (1, 2, 3, 9, 10, 30)]
        self.assertEqual(demo_summary.gap_ms(acked, 4_000_000, 5_000_000), 6)
        self.assertEqual(demo_summary.gap_ms(acked, 1_500_000, 2_500_000), 1)
        self.assertEqual(demo_summary.gap_ms(acked, 0, 40_000_000), 20)
        self.assertEqual(demo_summary.gap_ms([], 1, 2), 0)


if __name__ == "__main__":
    main()
