"""exchange-replay lobster against the exchange's own books and executions, as recorded beside the messages."""
import csv
import unittest

from process import program, run
from workdir import TestCase, data_dir, main

DATA = data_dir()
HOUR = DATA and DATA / "lobster-aapl-hour"
FIRST = DATA and DATA / "lobster-aapl-999"
HERE = bool(DATA) and (HOUR / "messages.csv").exists() and (FIRST / "messages.csv").exists()
TYPE_NEW, TYPE_EXECUTE = "1", "4"


def rows(path):
    with open(path, newline="") as file:
        found = list(csv.reader(file))
    return found[1:] if found and found[0][0][0].isalpha() else found


def replay(*options, messages=None):
    return run(program("exchange-replay"), "lobster",
               "--messages", messages or HOUR / "messages.csv",
               "--seed-book", HOUR / "seed-book.csv", "-o", "json", *options, check=0).json()


@unittest.skipUnless(HERE, "no lobster-aapl-hour and lobster-aapl-999 (set BATON_DATA)")
class Lobster(TestCase):
    def test_the_ten_level_book_equals_the_recorded_one_at_999_of_999_rows(self):
        out = self.workdir() / "book.csv"
        replay("--levels", 10, "--book-out", out)
        ours, messages = rows(out), rows(HOUR / "messages.csv")
        self.assertEqual(len(ours), len(messages))
        recorded = rows(FIRST / "orderbook-10.csv")

        # A 10-level file leaves out what happens deeper: find each of its messages in the hour.
        at, equal = -1, 0
        for message, book in zip(rows(FIRST / "messages.csv"), recorded, strict=True):
            at = next(i for i in range(at + 1, len(messages)) if messages[i][:4] == message[:4])
            equal += ours[at] == book
        self.assertEqual((equal, len(recorded)), (999, 999))
        self.assertEqual(at, 1266)

    def test_the_best_bid_and_ask_pass_through_23422_of_23439_recorded_states(self):
        out = self.workdir() / "best.csv"
        replay("--levels", 1, "--book-out", out)
        states = []
        for row in rows(out):
            if not states or states[-1] != row:
                states.append(row)
        recorded = rows(HOUR / "best-bid-ask.csv")

        at, found = 0, 0
        for state in states:
            for i in range(at, min(at + 1000, len(recorded))):
                if recorded[i] == state:
                    at, found = i + 1, found + 1
                    break
        self.assertEqual((found, len(states)), (23422, 23439))

    def test_levels_limits_the_rows_and_not_the_book(self):
        directory = self.workdir()
        deep = replay("--levels", 10, "--book-out", directory / "deep.csv")
        flat = replay("--levels", 1, "--book-out", directory / "flat.csv")
        self.assertEqual(deep, flat)
        for ten, one in zip(rows(directory / "deep.csv"), rows(directory / "flat.csv"), strict=True):
            self.assertEqual(ten[:4], one)

    def test_matching_fills_the_order_the_price_and_the_size_that_were_recorded(self):
        out = self.workdir() / "fills.csv"
        summary = replay("--match", "--fills-out", out)
        messages = rows(HOUR / "messages.csv")
        added = {message[2] for message in messages if message[1] == TYPE_NEW}
        fills = {}
        for number, *fill in rows(out):
            fills.setdefault(int(number), []).append(fill)

        executions, strict, exact, first = 0, 0, 0, 0
        for number, (_, kind, order, size, price, _) in enumerate(messages, 1):
            if kind != TYPE_EXECUTE:
                continue
            executions += 1
            fill = fills.get(number, [])
            if len(fill) != 1 or fill[0][1:] != [price, size]:
                continue
            seeded = order not in added and int(fill[0][0]) >= 10**18
            strict += fill[0][0] == order
            exact += fill[0][0] == order or seeded
            first += number <= 1267 and (fill[0][0] == order or seeded)
        recorded = [m for m in messages[:1267] if m[1] == TYPE_EXECUTE]
        self.assertEqual((first, len(recorded)), (98, 98))
        self.assertEqual(executions, 4067)
        self.assertGreaterEqual(strict, 3989)
        self.assertEqual((exact, exact), (4001, summary["executed_exactly"]))

    def test_a_book_in_an_arena_gives_the_same_results(self):
        directory = self.workdir()
        for options in ([], ["--match"]):
            results = []
            for name, memory in (("heap", []), ("arena", ["--arena"])):
                book, fills = directory / f"{name}-book.csv", directory / f"{name}-fills.csv"
                summary = replay(*options, *memory, "--book-out", book, "--fills-out", fills)
                results.append((summary, book.read_bytes(), fills.read_bytes()))
            self.assertEqual(results[0], results[1])

    def test_the_same_messages_give_the_same_digest_by_file_and_by_pipe(self):
        by_file = replay()
        with open(HOUR / "messages.csv") as file:
            text = file.read()
        by_pipe = run(program("exchange-replay"), "lobster", "--messages", "-",
                      "--seed-book", HOUR / "seed-book.csv", "-o", "json",
                      input=text[text.index("\n") + 1:], check=0).json()  # without its header
        self.assertEqual(by_file, by_pipe)
        self.assertEqual(by_file["messages"], 91997)
        self.assertEqual(by_file["executed_exactly"], by_file["executed"])


if __name__ == "__main__":
    main()
