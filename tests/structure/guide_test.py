"""The guide's blocks of C are one service: it compiles in both releases, and does what the guide says of it."""
import os
import pathlib
import re
import socket
import struct
import unittest

import process
import tree
from workdir import TestCase, connect_unix, main, wait_until

BLOCK = re.compile(r"^```c\n(.*?)^```", re.MULTILINE | re.DOTALL)
DEPOSIT, TRANSFER, SWITCH = 1, 2, 3
DONE, TOO_LITTLE, TOO_OLD, NOT_YET = 0, 1, 4, 5
BUILD = pathlib.Path(os.environ.get("BATON_BUILD", tree.SOURCE / "build/release"))


class Client:
    def __init__(self, test):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        test.addCleanup(self.socket.close)
        self.socket.settimeout(120)
        connect_unix(self.socket, test.work / "wallet.sock")

    def send(self, kind, account, request, amount=0, other=0):
        self.socket.send(struct.pack("<H6xQQQQ", kind, account, request, other, amount))

    def ask(self, *arguments, **more):
        self.send(*arguments, **more)
        answer = self.socket.recv(100)
        account, request, balance, outcome = struct.unpack("<QQQH6x", answer)
        assert (account, request) == arguments[1:3], answer
        return outcome, balance


@unittest.skipUnless((BUILD / "lib/libbaton.so").exists(), "libbaton.so is not built in this preset")
class Guide(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.source = "".join(BLOCK.findall(tree.read("docs/guide.md")))

    def setUp(self):
        self.work = self.workdir()
        (self.work / "wallet.c").write_text(self.source)
        self.wallets = {}

    def wallet(self, schema):
        if schema not in self.wallets:
            binary = self.work / f"wallet-{schema}"
            process.run(os.environ.get("CC", "gcc"), "-std=gnu17", "-O1", "-Wall", "-Wextra", "-Wshadow", "-Wconversion",
                        "-Werror", f"-DWALLET_SCHEMA={schema}", *tree.include_flags(tree.MODULES), self.work / "wallet.c",
                        "-o", binary, f"-L{BUILD / 'lib'}", "-lbaton", f"-Wl,-rpath,{BUILD / 'lib'}", check=0)
            self.wallets[schema] = binary
        return self.wallets[schema]

    def run_wallet(self, schema, name, *options):
        """In its directory, so that paths of sockets are short."""
        wallet = self.spawn(self.wallet(schema), "run", "--dir", name, "--listen", "wallet.sock", "--compatible-min", "1.0.0",
                            "--compatible-max", "2.0.0", "--after-handover", "standby", *options, cwd=self.work)
        wanted = "follow" if "--standby-of" in options else "running"
        wait_until(lambda: wanted in self.phase(name), f"{name} is {wanted}")
        return wallet

    def baton(self, *arguments, check=0):
        return process.run(BUILD / "bin/baton", *arguments, check=check, cwd=self.work)

    def phase(self, name):
        result = self.baton("service", "status", name, "-o", "json", check=None)
        return result.json()["phase"] if result.status == 0 else ""

    def handover(self, name):
        """Refused where the standby lags: on a busy machine it is asked for again."""
        wait_until(lambda: self.baton("service", "handover", name, "--max-gap", "60s", check=None).status == 0,
                   f"a handover from {name}")

    def test_an_answer_survives_kill_and_is_given_again_word_for_word(self):
        wallet = self.run_wallet(1, "a")
        client = Client(self)
        self.assertEqual(client.ask(DEPOSIT, 7, 1, 100), (DONE, 100))
        self.assertEqual(client.ask(TRANSFER, 7, 2, 30, 8), (DONE, 70))
        self.assertEqual(client.ask(TRANSFER, 7, 3, 71, 8), (TOO_LITTLE, 70))
        wallet.kill()
        wallet = self.run_wallet(1, "a")
        client = Client(self)
        self.assertEqual(client.ask(TRANSFER, 7, 3, 71, 8), (TOO_LITTLE, 70))
        self.assertEqual(client.ask(TRANSFER, 7, 2, 30, 8)[0], TOO_OLD)
        self.assertEqual(client.ask(DEPOSIT, 8, 1, 1), (DONE, 31))
        self.assertEqual(wallet.terminate(), 0, wallet.err())
        process.run(self.wallet(1), "baton", "verify", self.work / "a", check=0)

    def test_what_is_no_message_ends_its_connection_and_no_other(self):
        wallet = self.run_wallet(1, "a")
        good, bad = Client(self), Client(self)
        for packet in (b"x", struct.pack("<H6xQQQQ", 9, 1, 1, 0, 1), struct.pack("<HH4xQQQQ", DEPOSIT, 1, 1, 1, 0, 1)):
            bad.socket.send(packet)
            self.assertEqual(bad.socket.recv(100), b"")
            bad = Client(self)
        self.assertEqual(good.ask(DEPOSIT, 1, 1, 5), (DONE, 5))
        self.assertEqual(wallet.terminate(), 0, wallet.err())

    def test_the_releases_hand_over_to_and_fro_under_one_connection_until_finalize(self):
        old = self.run_wallet(1, "a")
        client = Client(self)
        self.assertEqual(client.ask(DEPOSIT, 7, 1, 100), (DONE, 100))
        new = self.run_wallet(2, "b", "--standby-of", "a")
        self.handover("a")
        self.assertEqual(client.ask(TRANSFER, 7, 2, 10, 8), (DONE, 90))
        self.assertEqual(client.ask(SWITCH, 7, 3), (NOT_YET, 0))
        wait_until(lambda: "follow" in self.phase("a"), "the old one follows")
        self.handover("b")
        self.assertEqual(client.ask(TRANSFER, 7, 4, 10, 8), (DONE, 80))
        wait_until(lambda: "follow" in self.phase("b"), "the new one follows")
        self.handover("a")
        self.baton("service", "finalize", "b")
        self.assertEqual(client.ask(SWITCH, 7, 5), (DONE, 80))
        self.assertEqual(client.ask(TRANSFER, 7, 6, 10, 8), (DONE, 70))
        self.baton("service", "drain", "b")
        self.assertEqual(new.wait(120), 0, new.err())
        old.terminate()
        self.baton("journal", "verify", "a", "b")
        process.run(self.wallet(2), "baton", "verify", self.work / "b", check=0)

    def test_a_snapshot_of_the_first_release_is_read_by_the_second(self):
        old = self.run_wallet(1, "a", "--snapshot-form", "portable")
        self.assertEqual(Client(self).ask(DEPOSIT, 7, 1, 100), (DONE, 100))
        self.assertEqual(old.terminate(), 0, old.err())
        self.assertIn("portable", self.baton("snapshot", "ls", "a/snapshots").stdout)
        new = self.run_wallet(2, "a")
        self.assertEqual(Client(self).ask(DEPOSIT, 7, 1, 100), (DONE, 100))
        self.assertEqual(new.terminate(), 0, new.err())


if __name__ == "__main__":
    main()
