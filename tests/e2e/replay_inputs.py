"""exchange-replay and what people feed it: malformed lines, pipes, full disks, wrong options."""
import os

from process import program, run
from workdir import TestCase, main

MESSAGES = "34200.1,1,11,10,1000000,1\n34200.2,1,12,5,1000100,-1\n34200.3,4,11,4,1000000,1\n"
SEED = "1000100,20,1000000,30,9999999999,0,999900,40\n"


def replay(*arguments, **options):
    return run(program("exchange-replay"), *arguments, **options)


class Lobster(TestCase):
    def setUp(self):
        self.directory = self.workdir()
        self.messages = self.directory / "messages.csv"
        self.messages.write_text(MESSAGES)

    def lobster(self, *arguments, **options):
        return replay("lobster", "--messages", self.messages, *arguments, **options)

    def assert_refused(self, result, *parts):
        self.assertEqual(result.status, 1, result)
        self.assertTrue(result.stderr.startswith("baton: "), result)
        self.assertEqual(len(result.stderr.splitlines()), 1, result)
        for part in parts:
            self.assertIn(part, result.stderr)

    def test_book_rows_are_in_the_layout_of_lobster(self):
        self.lobster("--levels", 2, "--book-out", self.directory / "book", check=0)
        empty = "9999999999,0,-9999999999,0"
        self.assertEqual((self.directory / "book").read_text().splitlines(), [
            f"9999999999,0,1000000,10,{empty}",
            f"1000100,5,1000000,10,{empty}",
            f"1000100,5,1000000,6,{empty}",
        ])

    def test_the_first_row_of_a_seeded_replay_is_the_seed(self):
        seed = self.directory / "seed"
        seed.write_text(SEED)
        self.lobster("--seed-book", seed, "--levels", 2, "--book-out", self.directory / "book",
                     "--fills-out", self.directory / "fills", "--match", check=0)
        self.assertEqual((self.directory / "book").read_text().splitlines(), [
            "1000100,20,1000000,30,9999999999,0,999900,40",
            "1000100,25,1000000,30,9999999999,0,999900,40",
            "1000100,25,1000000,26,9999999999,0,999900,40",
        ])
        # The seeded order is the older one: it is filled, not the one that the record names.
        self.assertEqual((self.directory / "fills").read_text(), "3,1000000000000000001,1000000,4\n")

    def test_a_malformed_line_is_named_with_its_file_and_number(self):
        good = MESSAGES.splitlines()
        for bad, why in (
                ("34200.4,1,13,5,1000100", "5 fields instead of 6"),
                ("34200.4,1,13,5,1000100,1,7", "more than 6 fields"),
                ("34200.4,9,13,5,1000100,1", "type"),
                ("34200.4,1,13,5,1000100,0", "direction"),
                ("34200.4,1,13,5x,1000100,1", "size"),
                ("34200.4,1,-13,5,1000100,1", "order id"),
                ("34200.4,1,13,0,1000100,1", "size"),
                ("34200.4,1,13,5,99999999999999999999,1", "price"),
                ("34200.4,1,13, 5,1000100,1", "size"),
                ("noon,1,13,5,1000100,1", "time"),
                ("34200.4,1,11,5,1000100,1", "added before"),
                ("34200.4,1,13,18446744073709551616,1000100,1", "size"),
                ("", "empty"),
                ("34200.4,1,13,5,10\x0000100,1", "zero byte"),
                ("seconds,message_type,order_id,quantity,price,direction", "time")):
            self.messages.write_text("\n".join(good[:2] + [bad] + good[2:]) + "\n")
            result = self.lobster("--book-out", self.directory / "book",
                                  "--fills-out", self.directory / "fills")
            self.assert_refused(result, f"{self.messages}:3", why)
            self.assertEqual(os.listdir(self.directory), ["messages.csv"])

    def test_a_header_and_windows_line_ends_and_a_missing_last_newline_are_fine(self):
        plain = self.lobster("-o", "json", check=0).stdout
        header = "seconds,message_type,order_id,quantity,price,direction\n"
        for text in (header + MESSAGES, MESSAGES.rstrip("\n"), MESSAGES.replace("\n", "\r\n"),
                     MESSAGES + "\n"):
            self.messages.write_bytes(text.encode())
            self.assertEqual(self.lobster("-o", "json", check=0).stdout, plain)

    def test_an_empty_input_is_an_empty_book(self):
        self.messages.write_text("")
        summary = self.lobster("-o", "json", "--book-out", self.directory / "book", check=0).json()
        self.assertEqual((summary["messages"], summary["best_bid"]), (0, None))
        self.assertEqual((self.directory / "book").read_text(), "")

    def test_messages_seed_and_results_may_be_pipes(self):
        paths = [self.directory / name for name in ("in", "seed", "out")]
        for path in paths:
            os.mkfifo(path)
        (self.directory / "seed-file").write_text(SEED)
        feed = 'exec cat "$1" >"$2"'
        around = [
            self.spawn("/bin/sh", "-c", feed, "sh", self.messages, paths[0]),
            self.spawn("/bin/sh", "-c", feed, "sh", self.directory / "seed-file", paths[1]),
            self.spawn("/bin/cat", paths[2]),
        ]
        replay("lobster", "--messages", paths[0], "--seed-book", paths[1], "--levels", 1,
               "--book-out", paths[2], check=0)
        self.assertEqual([process.wait() for process in around], [0, 0, 0])
        self.assertEqual(around[2].out().splitlines()[-1], "1000100,25,1000000,26")
        self.assertTrue(paths[2].is_fifo())

    def test_a_bad_seed_book_is_refused(self):
        seed = self.directory / "seed"
        for text, why in (("", "empty"), ("1,2,3\n", "instead of 4"), ("5,1,4,1,6\n", "multiple of 4"),
                          ("5,1,4,x\n", "price and a size"), ("5,0,4,1\n", "size"),
                          ("4,1,5,1\n", "crossed"), ("1000100,20,1000000,9\n", "seed book")):
            seed.write_text(text)
            self.assert_refused(self.lobster("--seed-book", seed), why)

    def test_a_full_disk_leaves_the_older_results_in_place(self):
        self.messages.write_text("".join(f"1,1,{i},1,{i},1\n" for i in range(1, 3000)))
        book = self.directory / "book"
        book.write_text("older\n")
        result = self.lobster("--book-out", book, "--fills-out", "/dev/full", "--match")
        self.assertEqual(result.status, 0, result)  # no fill, nothing to write
        book.write_text("older\n")
        self.messages.write_text(MESSAGES)
        result = self.lobster("--book-out", book, "--fills-out", "/dev/full")
        self.assert_refused(result, "/dev/full", "No space left")
        self.assertEqual(book.read_text(), "older\n")
        result = self.lobster("--book-out", "/dev/full")
        self.assert_refused(result, "/dev/full", "No space left")
        self.assertEqual(sorted(os.listdir(self.directory)), ["book", "messages.csv"])

    def test_what_cannot_be_opened_is_named(self):
        missing = self.directory / "missing"
        self.assert_refused(replay("lobster", "--messages", missing), str(missing), "No such file")
        self.assert_refused(self.lobster("--book-out", missing / "book"), str(missing))
        self.assert_refused(self.lobster("--seed-book", self.directory), str(self.directory))
        self.assertEqual(os.listdir(self.directory), ["messages.csv"])


class Orders(TestCase):
    def setUp(self):
        self.directory = self.workdir()
        (self.directory / "balances").write_text("1,1,100,0,0\n1,2,100,0,0\n")
        (self.directory / "orders").write_text("1,1,sell,1.00,0.0000001\n")

    def orders(self):
        return replay("orders", "--orders", self.directory / "orders", "--balances",
                      self.directory / "balances", "--out", self.directory / "out")

    def assert_refused_at(self, place, why):
        result = self.orders()
        self.assertEqual(result.status, 1, result)
        self.assertIn(f"baton: {self.directory / place}", result.stderr)
        self.assertIn(why, result.stderr)
        out = self.directory / "out"
        self.assertEqual(os.listdir(out) if out.exists() else [], [])

    def test_a_malformed_order_is_named_and_no_result_is_written(self):
        for bad, why in (("1,1,sell,1.001,1", "price"), ("1,1,sell,1,0.000000001", "quantity"),
                         ("1,1,hold,1,1", "side"), ("1,1,sell,-1,1", "price"),
                         ("x,1,sell,1,1", "order id"), ("1,,sell,1,1", "user id"),
                         ("1,1,place,sell,1", "fields"), ("1,1,sell,1,1,1", "fields"),
                         ("1,1", "fields"), ("1,1,sell,1.,1", "price"),
                         ("1,1,sell,1,99999999999999999999", "quantity")):
            (self.directory / "orders").write_text("7,1,buy,1,0.0000001\n" + bad + "\n")
            self.assert_refused_at("orders:2", why)

    def test_a_malformed_balance_is_named(self):
        for bad, why in (("1,1,100,0,0", "second balance"), ("2,1,100,5,0", "frozen"),
                         ("2,1,-1,0,0", "whole numbers"), ("2,4294967296,1,0,0", "asset id"),
                         ("2,1,100,0", "instead of 5")):
            (self.directory / "balances").write_text("1,1,100,0,0\n" + bad + "\n")
            self.assert_refused_at("balances:2", why)

    def test_results_replace_older_ones(self):
        self.assertEqual(self.orders().status, 0)
        first = (self.directory / "out" / "orderbook.csv").read_text()
        (self.directory / "orders").write_text("")
        self.assertEqual(self.orders().status, 0)
        self.assertNotEqual((self.directory / "out" / "orderbook.csv").read_text(), first)
        self.assertEqual(sorted(os.listdir(self.directory / "out")),
                         ["balances.csv", "events.csv", "orderbook.csv"])


class CommandLine(TestCase):
    def test_wrong_options_are_refused_with_a_hint(self):
        for arguments in ([], ["nasdaq"], ["lobster"], ["lobster", "--messages"],
                          ["lobster", "--messages", "x", "--levels", "0"],
                          ["lobster", "--messages", "x", "--levels", "10001"],
                          ["lobster", "--messages", "x", "-o", "xml"],
                          ["lobster", "--orders", "x"], ["lobster", "--messages", "x", "y"],
                          ["orders", "--orders", "x"], ["orders", "--match"]):
            result = replay(*arguments)
            self.assertEqual(result.status, 1, result)
            self.assertRegex(result.stderr, r"^baton: .+: .+: .+--help\n$", result)
            self.assertEqual(result.stdout, "")

    def test_help_shows_examples(self):
        for arguments in (["--help"], ["lobster", "--help"], ["orders", "-h"]):
            result = replay(*arguments, check=0)
            self.assertIn("Examples:", result.stdout)
            self.assertEqual(result.stderr, "")


if __name__ == "__main__":
    main()
