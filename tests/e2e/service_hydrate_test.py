"""What an empty standby begins with: a snapshot of the active's that stands elsewhere (--hydrate-from), or that the active sends,
also as an image that adds to another one, and when it is killed in the midst of it; what it says meanwhile."""
import pathlib
import shutil
import struct
import threading

from batond_case import BatondCase
from cli_case import TOY, TOY_NEXT, flip, process
from handover_peer import FETCH, PIECE, SNAPSHOT, WELCOME, Active, Hello, Relay, xxh3_128
from service_client import Client, order
from handover_case import ENGINE_NEW, ENGINE_OLD, HandoverCase
from workdir import main, wait_until


def snapshots(directory, kind="manifest"):
    return sorted((pathlib.Path(directory) / "snapshots").glob(f"*.{kind}"))


class Elsewhere(HandoverCase):
    def begin(self, taken=1):
        """An active that has taken so many snapshots, a copy of them, and entries behind the last."""
        self.active, self.shared = self.start("--snapshot-at-drain", "no"), self.root / "shared"
        client = self.client()
        for _ in range(taken):
            for number in range(20):
                client.add(number, 1)
            self.service("snapshot", check=0)
        client.add(0, 1)
        shutil.copytree(self.data / "snapshots", self.shared)
        self.total = 20 * taken + 1

    def hydrate(self, path, directory=None):
        new = self.standby(directory or self.other, None, "--hydrate-from", path)
        self.assertIn("handover.hydrated_from", new.err())
        self.assertNotIn("handover.snapshot_fetched", new.err())
        return new

    def assert_takes_over(self, new, seq):
        self.assertEqual(self.status_of(new.directory)["hydrate"]["snapshot_seq"], seq)
        self.handover(self.data, "--to", self.status_of(new.directory)["instance"]["nonce"], "--wait", check=0)
        self.wait_phase(new, "running")
        self.assertEqual(self.client().add(9, 1).split()[0], str(self.total + 1))
        self.assert_one_journal(self.data, new.directory)

    def refused(self, path, *words):
        result = process.run(TOY_NEXT, "run", "--dir", self.root / "refused", "--standby-of", self.data, "--hydrate-from", path)
        self.assert_refused(result, 1, *words)
        self.assertFalse(snapshots(self.root / "refused"), "nothing that may be loaded")

    def test_a_directory_of_snapshots(self):
        self.begin()
        new = self.hydrate(self.shared)
        for kind in ("manifest", "chunks"):
            self.assertEqual([path.read_bytes() for path in snapshots(self.other, kind)],
                             [path.read_bytes() for path in sorted(self.shared.glob(f"*.{kind}"))])
        self.hydrate(self.data, self.root / "third")  # a data directory
        new.kill()
        again = self.standby(self.other, None, "--hydrate-from", self.shared)
        self.assertIn("handover.hydrate_from_ignored", again.err())
        self.assert_takes_over(again, 20)

    def test_a_file_that_was_exported(self):
        self.begin()
        file = self.root / "one.snapshot"
        self.baton("snapshot", "export", self.shared, file, check=0)
        self.assert_takes_over(self.hydrate(file), 20)

    def test_the_newest_that_the_active_names(self):
        self.begin(2)
        for path in (self.data / "snapshots").glob(f"{40:016x}-*"):
            path.unlink()
        new = self.hydrate(self.shared)
        self.assertIn("the active does not name its root", new.err())
        self.assert_takes_over(new, 20)

    def test_what_the_active_does_not_name_is_refused(self):
        self.begin()
        for path in (self.data / "snapshots").iterdir():
            path.unlink()
        self.refused(self.shared, "begin with --hydrate-from", "the active does not name its root", "leave --hydrate-from out")
        file = self.root / "one.snapshot"
        self.baton("snapshot", "export", self.shared, file, check=0)
        self.refused(file, "the active does not name its root")
        self.standby(self.root / "refused")  # all of the journal is there

    def test_another_journals_and_nothing_at_all_are_refused(self):
        self.begin()
        self.assertEqual(self.active.terminate(), 0)
        shutil.rmtree(self.data)
        self.start()
        self.client().add(1, 1)
        self.refused(self.shared, "it is of another journal than the active's", "give snapshots that the active took")
        empty = self.root / "empty"
        empty.mkdir()
        self.refused(empty, "there is no snapshot in it")
        self.refused(self.root / "nowhere", "option --hydrate-from", "No such file or directory")
        self.refused(process.program("baton"), "it does not begin as an exported snapshot")
        alone = process.run(TOY, "run", "--dir", self.root / "alone", "--hydrate-from", self.shared)
        self.assert_refused(alone, 1, "option --hydrate-from", "give --standby-of, too")

    def test_a_damaged_one_is_refused(self):
        self.begin()
        file = self.root / "one.snapshot"
        self.baton("snapshot", "export", self.shared, file, check=0)
        cut = self.root / "cut.snapshot"
        cut.write_bytes(file.read_bytes()[:-1])
        flip(file, file.stat().st_size - 3)
        self.refused(file, "does not fit its digest")
        self.refused(cut, "it ends too early")
        flip(next(self.shared.glob("*.chunks")), 10)
        self.refused(self.shared, " there is damaged", "look at that storage")
        flip(next(self.shared.glob("*.manifest")), 100)
        self.refused(self.shared, "its manifest can't be used")

    def test_beside_a_damaged_one_the_next_is_taken(self):
        self.begin(2)
        flip(next(self.shared.glob(f"{40:016x}-*.chunks")), 10)
        new = self.hydrate(self.shared)
        self.assertIn(" there is damaged", new.err())
        self.assertEqual(len(snapshots(self.other)), 1)
        self.assert_takes_over(new, 20)


class Halfway:
    """Between a standby and its active; after a piece of a manifest, or of chunks, nothing of the active's goes through."""

    def __init__(self, case, of_manifest, change=None):
        self.path, self.held, self.of_manifest, self.change = case.socket_path("relay"), threading.Event(), of_manifest, change
        Relay(case, self.path, case.data / "handover.sock", self.pass_on)

    def pass_on(self, from_active, message):
        if self.change is not None:
            self.change(from_active, message)
        if not from_active:
            return [message]
        if self.held.is_set():
            return []
        if message.type == PIECE and struct.unpack_from("<QII", message.body)[2] == self.of_manifest:
            self.held.set()
        return [message]


class Sent(HandoverCase):
    """By the active."""

    def test_killed_in_the_midst_of_the_first_fetch_it_begins_again(self):
        self.start()
        client = self.client()
        for number in range(20):
            client.add(number, 1)
        self.service("snapshot", check=0)
        for of_manifest in (0, 1):
            relay = Halfway(self, of_manifest)
            directory = self.root / f"standby{of_manifest}"
            new = self.run_toy(directory, program=TOY_NEXT, standby_of=relay.path)
            wait_until(relay.held.is_set, "the midst of it")
            wait_until(lambda: snapshots(directory, "manifest" if of_manifest else "chunks*"), "what was sent so far")
            new.kill()
            new = self.standby(directory)
        self.handover(self.data, "--to", self.status_of(new.directory)["instance"]["nonce"], "--wait", check=0)
        self.wait_phase(new, "running")
        self.assertEqual(self.client().add(0, 1), "21 0 2")


class Waiting(BatondCase, HandoverCase):
    """What an instance does while it fetches: from an active that says a little now and then."""

    def setUp(self):
        super().setUp()
        self.over = threading.Event()
        self.addCleanup(self.over.set)

    def trickle(self, say):
        for number in range(10 ** 6):
            if self.over.wait(0.1):
                return
            say(number)

    def drip(self, peer, of_manifest=0):
        peer.to = peer.hear().nonce
        peer.say(WELCOME, bytes(Hello(is_active=1, directory="/tmp")))
        peer.hear()
        peer.say(SNAPSHOT, struct.pack("<QQ16sQQ", 5, 1, b"\7" * 16, 64 << 20, 8 if of_manifest else 64 << 20))
        if of_manifest:
            peer.say(PIECE, struct.pack("<QII", 0, 8, 0) + bytes(8))
        self.trickle(lambda number: peer.say(PIECE, struct.pack("<QII", 8 * number, 8, of_manifest) + bytes(8)))

    def stutter(self, peer):
        peer.hear()
        welcome = peer.message(WELCOME, bytes(Hello(is_active=1)))
        self.trickle(lambda number: peer.socket.sendall(welcome[number:number + 1]))

    def fetching(self, directory, of_manifest=0):
        path = self.socket_path(f"drip{of_manifest}")
        Active(self, path, lambda peer: self.drip(peer, of_manifest))
        new = self.run_toy(directory, program=TOY_NEXT, standby_of=path)

        def far():
            status = self.status_of(directory)
            return status if status and status["phase"] == "fetching" and status["hydrating"]["done"] > 8 else None
        return new, wait_until(far, "a status that says how far it is")["hydrating"]

    def test_it_says_how_far_it_is_and_ends_at_once_and_leaves_nothing_half_done(self):
        self.start()
        self.client().add(1, 1)
        for of_manifest in (0, 1):
            directory = self.root / f"standby{of_manifest}"
            new, progress = self.fetching(directory, of_manifest)
            self.assertEqual((progress["step"], progress["unit"], progress["seq"]), ("fetching", "bytes", 5))
            self.assertLess(progress["done"], progress["of"])
            self.assertEqual(self.service("drain", where=str(directory)).status, 1)
            self.assertEqual(new.terminate(), 0)
            self.assertIn("service.start_ended", new.err())
            self.assertEqual([path.name for path in (directory / "snapshots").iterdir()], [])
            self.assertFalse((directory / "control.sock").exists())
        self.assertEqual(self.standby(directory).terminate(), 0)

    def test_batond_says_it_too(self):
        self.fetching(self.other)
        self.sidecar(service=self.other)

        def known():
            health = self.get("/health").json()
            return health if health["phase"] == "fetching" and health["hydrate"]["progress"] > 0 else None
        health = wait_until(known, "batond to know")
        self.assertEqual((health["status"], health["hydrate"]["step"]), ("starting", "fetching"))
        self.assertEqual([self.get(path).code for path in ("/livez", "/readyz", "/startupz")], [200, 503, 503])

    def test_a_second_one_does_not_fetch_into_the_same_directory(self):
        first, _ = self.fetching(self.other)
        second = process.run(TOY_NEXT, "run", "--dir", self.other, "--standby-of", self.socket_path("drip0"))
        self.assert_refused(second, 7, "another service answers there")
        self.assertTrue(first.running())

    def test_an_active_that_drips_is_given_up(self):
        for talk in (self.drip, self.stutter):
            path = self.socket_path(talk.__name__)
            Active(self, path, talk)
            result = process.run(TOY, "run", "--dir", self.other, "--standby-of", path, "--fetch-stall", "1s")
            self.assert_refused(result, 1, "fetch the active's snapshot", "the active sends too slowly", "--fetch-stall")
        self.assertEqual([path.name for path in (self.other / "snapshots").iterdir()], [])


class Images(HandoverCase):
    """The matching engine's: a full one, and one that adds to it."""

    def engine(self, program, directory, *options):
        child = self.spawn(program, "run", "--dir", directory, "--listen", self.orders, "--snapshot-form", "image",
                           "--ticks", "client", *options)
        child.directory = directory
        return child

    def setUp(self):
        super().setUp()
        self.orders = "unix:" + self.socket_path("orders")
        self.old = self.engine(ENGINE_OLD, self.data)
        self.wait_phase(self.old, "running")
        client = Client(self, self.orders)
        for number in range(1, 4):
            client.ack(order(1, number))
            if number < 3:
                self.service("snapshot", check=0)
        client.close()
        newest = self.baton("snapshot", "info", self.data, "-o", "json", check=0).json()
        self.assertEqual((newest["seq"], newest["form"]), (2, "image"))
        self.assertIsNotNone(newest["parent"])

    def follow(self, *options, directory=None, of=None):
        new = self.engine(ENGINE_NEW, directory or self.other, "--standby-of", of or self.data, *options)
        self.wait_level(new, self.data)
        return new

    def assert_takes_over(self, new, seq=2):
        self.assertEqual(self.status_of(new.directory)["hydrate"]["snapshot_seq"], seq)
        self.assertEqual(len(snapshots(new.directory)), seq)
        self.handover(self.data, "--wait", check=0)
        self.wait_phase(new, "running")
        self.assertEqual(Client(self, self.orders).ack(order(1, 4)).seq, 4)

    def test_what_an_increment_adds_to_comes_too(self):
        new = self.follow()
        self.assertIn("handover.snapshot_fetched", new.err())
        self.assert_takes_over(new)

    def test_killed_between_an_increment_and_what_it_adds_to(self):
        relay = Halfway(self, 1)
        new = self.engine(ENGINE_NEW, self.other, "--standby-of", relay.path)
        wait_until(relay.held.is_set, "the increment")
        wait_until(lambda: snapshots(self.other), "its name")
        new.kill()
        self.assertEqual(len(snapshots(self.other)), 1)
        self.assert_takes_over(self.follow())

    def test_a_standby_of_another_layout_gets_no_images(self):
        """It says so in its FETCH; all of the journal is there."""
        def change(from_active, message):
            if message.type == FETCH:
                message.body = message.body[:16] + b"\7" * 16
                message.header = message.header[:96] + xxh3_128(message.header[:96] + message.body)
        relay = Halfway(self, 2, change)
        new = self.follow(of=relay.path)
        self.assertNotIn("handover.snapshot_fetched", new.err())
        self.assertEqual(self.status_of(self.other)["hydrate"]["snapshot_seq"], 0)
        self.assertEqual(snapshots(self.other), [])

    def test_a_chain_that_stands_elsewhere(self):
        shared = self.root / "shared"
        shutil.copytree(self.data / "snapshots", shared)
        new = self.follow("--hydrate-from", shared)
        self.assertIn("handover.hydrated_from", new.err())
        self.assertNotIn("handover.snapshot_fetched", new.err())
        full = min(shared.glob("*.manifest"))
        full.unlink()
        refused = process.run(ENGINE_NEW, "run", "--dir", self.root / "refused", "--listen", "unix:" + self.socket_path("third"),
                              "--standby-of", self.data, "--hydrate-from", shared)
        self.assert_refused(refused, 1, "an image that it adds to is not there")
        self.assert_takes_over(new)


if __name__ == "__main__":
    main()
