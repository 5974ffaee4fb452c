"""A handover passes connected sockets (R10): sessions go on in the midst of a frame, whoever of the two dies or stands still.

Every client here keeps its one connection: none of them ever connects again, unless the test says so."""
import array
import fcntl
import os
import socket
import struct
import termios

import process
from cli_case import signal, test_program
from handover_case import ENGINE_NEW, ENGINE_OLD, HandoverCase
from service_client import ACK, CONFIRM, DONE, FILL, SELL, Ack, Client, Ended, frame, order, subscription
from workdir import main, wait_until

HALTING = test_program("matching-engine-halting")
PATIENT = ("--max-gap", "30s")  # where no clock is to decide
HALF = 21  # bytes of an order's 56: a head, and some of the body


def taken_by_the_engine(client):
    """The engine has read all that this client sent: nothing waits in the socket."""
    waiting = array.array("i", [0])
    fcntl.ioctl(client.socket.fileno(), termios.TIOCOUTQ, waiting)
    return waiting[0] == 0


class ConnectionsCase(HandoverCase):
    def setUp(self):
        super().setUp()
        self.orders = "unix:" + self.socket_path("orders")

    def engine(self, directory, *options, program=ENGINE_OLD, standby_of=None, env=None, limit=None):
        follow = ("--standby-of", standby_of) if standby_of else ()
        command = (program, "run", "--dir", directory, "--listen", self.orders, *follow, *options)
        if limit:
            command = ("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *command)
        child = self.spawn(*command, env=env or {})
        child.directory = directory
        return child

    def active(self, *options, **more):
        child = self.engine(self.data, *options, **more)
        self.wait_phase(child, "running")
        return child

    def follower(self, *options, directory=None, of=None, program=ENGINE_NEW, **more):
        directory = directory or self.other
        fresh = not directory.exists()
        child = self.engine(directory, *options, program=program, standby_of=of or self.data, **more)
        self.wait_level(child, of or self.data)
        if fresh:
            wait_until(lambda: self.status_of(directory)["follow"]["batches"] > 0, "the first batch to come")
        return child

    def connect(self, listen=None):
        return Client(self, listen or self.orders)

    def half(self, client, number, seq):
        """Half an order is in the engine's hands. Returns the other half."""
        whole = order(number, seq)
        client.send(whole[:HALF])
        wait_until(lambda: taken_by_the_engine(client), "the engine to read half an order")
        return whole[HALF:]

    def assert_goes_on(self, client, rest, seq):
        ack = client.ack(rest)
        self.assertEqual((ack.client_seq, ack.outcome), (seq, DONE))

    def passed(self, directory, count, *options):
        """A handover, which passes so many connections."""
        answer = self.handover(directory, *PATIENT, *options, check=0).json()["handover"]
        self.assertEqual(answer["state"], "fenced")
        self.assertEqual(answer["connections"], {"passed": count, "left": 0})
        return answer


class Sessions(ConnectionsCase):
    def there_and_back(self, listen):
        active, directory, other = self.active("--port-file", self.root / "ports"), self.data, self.other
        if listen != self.orders:
            listen = (self.root / "ports").read_text().splitlines()[0]
        client, seqs = self.connect(listen), []
        for number in range(1, 7):
            new = self.follower(directory=other, of=directory, program=(ENGINE_NEW, ENGINE_OLD)[(number + 1) % 2])
            rest = self.half(client, 7, number)
            self.passed(directory, 1, "--wait")
            self.assertEqual(active.wait(), 0)
            ack = client.ack(rest)
            self.assertEqual((ack.client_seq, ack.outcome), (number, DONE))
            seqs.append(ack.seq)
            active, directory, other = new, other, directory
        self.assertEqual(seqs, list(range(1, 7)))
        self.assertEqual(self.connect(listen).epoch, 7)
        self.assertEqual(active.terminate(), 0)
        self.assertRaises(Ended, client.receive)
        self.assert_one_journal(other, directory)

    def test_half_an_order_before_and_the_other_half_after_there_and_back(self):
        self.there_and_back(self.orders)

    def test_the_same_over_tcp(self):
        self.orders = "tcp:127.0.0.1:0"
        self.there_and_back(None)

    def test_two_warm_instances_pass_their_clients_to_and_fro(self):
        keep = ("--after-handover", "standby")
        self.active(*keep)
        client = self.connect()
        self.follower(*keep)
        directories = (self.data, self.other)
        for number in range(1, 9):
            active, standby = directories[(number + 1) % 2], directories[number % 2]
            self.wait_followed(active)
            rest = self.half(client, 7, number)
            self.handover(active, *PATIENT, check=0)
            self.assert_goes_on(client, rest, number)
            wait_until(lambda: self.status_of(standby)["phase"] == "running"
                       and self.status_of(active)["phase"] == "following", "the roles to be changed")

    def test_a_resting_order_is_filled_on_the_connection_that_it_came_by(self):
        """The client says nothing after the handover: its route went along."""
        old = self.active()
        maker = self.connect()
        maker.ack(order(1, 1))
        maker.ack(order(3, 1, price=90))
        self.follower()
        self.passed(self.data, 1, "--wait")
        self.assertEqual(old.wait(), 0)
        self.connect().ack(order(2, 1, side=SELL))
        self.assertEqual(struct.unpack_from("<QQ", maker.receive_of(FILL)), (1, 1))
        self.connect().ack(order(2, 2, price=90, side=SELL))
        self.assertEqual(struct.unpack_from("<QQ", maker.receive_of(FILL)), (3, 1))

    def test_answers_that_nobody_reads_go_along_and_none_is_lost_or_doubled(self):
        """The client's window is full, an answer is cut in its midst, and the rest waits in the engine."""
        old = self.active()
        slow = self.connect()
        count = 9000
        slow.send(*[order(1 + n // 60, 1 + n, price=1) for n in range(count)])
        wait_until(lambda: self.status_of(self.data)["released_seq"] == count, "all orders to be released")
        rest = self.half(slow, 500, count + 1)
        self.follower()
        self.passed(self.data, 1, "--wait")
        self.assertEqual(old.wait(), 0)
        slow.send(rest)
        acks = [Ack(slow.receive_of(ACK)) for _ in range(count + 1)]
        self.assertEqual([ack.client_seq for ack in acks], list(range(1, count + 2)))
        self.assertEqual([ack.seq for ack in acks], list(range(1, count + 2)))

    def test_many_connections(self):
        """More than the kernel passes at once (253)."""
        old = self.active()
        clients = [self.connect() for _ in range(300)]
        rests = [self.half(client, n + 1, 1) for n, client in enumerate(clients)]
        new = self.follower()
        self.passed(self.data, 300, "--wait")
        self.assertEqual(old.wait(), 0)
        for client, rest in zip(clients, rests):
            self.assert_goes_on(client, rest, 1)
        rests = [self.half(client, n + 1, 2) for n, client in enumerate(clients)]
        back = self.follower(directory=self.data, of=self.other, program=ENGINE_OLD)
        self.passed(self.other, 300, "--wait")
        self.assertEqual(new.wait(), 0)
        for client, rest in zip(clients, rests):
            self.assert_goes_on(client, rest, 2)
        self.assertEqual(self.status_of(self.data)["seq"], 600)
        self.assertEqual(back.terminate(), 0)

    def test_the_feed_goes_on(self):
        feed_path = "unix:" + self.socket_path("feed")
        keep = ("--feed", feed_path, "--outbox", "trades")
        old = self.active(*keep)
        client, feed = self.connect(), self.connect(feed_path)
        feed.send(subscription())

        def trade(number):
            client.ack(order(1, number))
            self.assertEqual(Ack(client.ack(order(2, number, side=SELL)).body).outcome, DONE)

        def key(body):
            return struct.unpack_from("<QQI", body)

        trade(1)
        first = feed.receive_trades()
        trade(2)
        wait_until(lambda: self.status_of(self.data)["released_seq"] == 4, "the second trade to be released")
        new = self.follower(*keep)
        self.passed(self.data, 2, "--wait")
        self.assertEqual(old.wait(), 0)
        trade(3)
        bodies = [feed.receive_trades() for _ in range(2)]
        self.assertEqual([key(body)[1] for body in (first, *bodies)], [2, 4, 6])
        feed.send(frame(CONFIRM, bodies[-1][:24]))
        wait_until(lambda: self.status_of(self.other)["outbox"]["effects"] == 0, "the confirmation to take hold")
        self.assertTrue(new.running())

    def test_a_connection_that_breaks_a_rule_afterwards_ends_alone(self):
        self.active()
        good, bad = self.connect(), self.connect()
        bad.send(frame(1)[:5])
        self.follower()
        self.passed(self.data, 2)
        bad.send(b"\xff" * 60)
        bad.error()
        self.assertEqual(good.ack(order(1, 1)).outcome, DONE)


class Bounds(ConnectionsCase):
    def crowd(self, count):
        clients = [self.connect() for _ in range(count)]
        for number, client in enumerate(clients, 1):
            client.ack(order(number, 1))
        return clients

    def go_on(self, clients):
        """Those that were passed go on; the others connect again and resend. How many they are."""
        left = []
        for number, client in enumerate(clients, 1):
            try:
                ack = client.ack(order(number, 2))
                self.assertEqual((ack.client_seq, ack.outcome), (2, DONE))
                client.close()
            except (Ended, BrokenPipeError, ConnectionResetError):
                left.append(number)
        for number in left:
            client = self.connect()
            self.assertEqual(client.ack(order(number, 1)).seq, number)
            self.assertEqual(client.ack(order(number, 2)).outcome, DONE)
            client.close()
        self.assertEqual(self.status_of(self.other)["seq"], 2 * len(clients))
        self.assertGreater(len(left), 0)
        self.assertLess(len(left), len(clients))
        return len(left)

    def test_a_successor_with_few_descriptors_takes_what_it_can(self):
        old = self.active()
        clients = self.crowd(100)
        new = self.follower(limit=150)
        self.passed(self.data, 100, "--wait")
        self.assertEqual(old.wait(), 0)
        left = self.go_on(clients)
        self.assertIn(f"taken={100 - left} left={left}", new.err())

    def test_an_active_with_few_descriptors_passes_what_it_can(self):
        old = self.active(limit=200)
        clients = self.crowd(80)
        self.follower()
        answer = self.handover(self.data, *PATIENT, "--wait", check=0).json()["handover"]
        self.assertEqual(old.wait(), 0)
        left = self.go_on(clients)
        self.assertEqual(answer["connections"], {"passed": 80 - left, "left": left})

    def test_one_with_more_unread_answers_than_may_go_along_connects_again(self):
        self.active()
        slow, other = self.connect(), self.connect()
        count = 32000  # answers of 56 bytes: more than a MiB
        slow.send(*[order(1 + n // 60, 1 + n, price=1) for n in range(count)])
        wait_until(lambda: self.status_of(self.data)["released_seq"] == count, "all orders to be released")
        rest = self.half(other, 600, 1)
        self.follower()
        answer = self.handover(self.data, *PATIENT, check=0).json()["handover"]
        self.assertEqual(answer["connections"], {"passed": 1, "left": 1})
        self.assert_goes_on(other, rest, 1)
        self.assertEqual(self.connect().ack(order(1 + (count - 1) // 60, count, price=1)).seq, count)
        with self.assertRaises(Ended):
            while True:
                slow.receive()


    def test_to_a_successor_over_tcp_nothing_is_passed(self):
        """R12: it may be on another host. Clients see the end, come again where it listens, and resend."""
        plain = ("--peer-listen", "127.0.0.1:0", "--peer-plaintext")
        old = self.active(*plain)
        client = self.connect()
        client.ack(order(1, 1))
        self.half(client, 1, 2)
        address = self.status_of(self.data)["peer_listen"]
        self.orders = "unix:" + self.socket_path("elsewhere")
        new = self.engine(self.other, *plain, program=ENGINE_NEW, standby_of=address)
        self.wait_level(new, self.data)
        self.passed(self.data, 0, "--wait")
        self.assertEqual(old.wait(), 0)
        self.assertRaises(Ended, client.receive)
        again = self.connect()
        self.assertEqual([again.ack(order(1, seq)).seq for seq in (1, 2)], [1, 2])


class Deaths(ConnectionsCase):
    """Either side ends at a step, by kill -9; half an order is under way."""

    def begin(self, old_env=None, new_env=None):
        self.old = self.active(program=HALTING, env=old_env)
        self.client = self.connect()
        self.new = self.follower(program=HALTING, env=new_env)
        self.rest = self.half(self.client, 1, 1)
        self.asked = self.handover(self.data, *PATIENT)

    def assert_old_goes_on(self, epoch):
        self.assertEqual(self.new.wait(), -signal.SIGKILL)
        self.assertEqual(self.asked.status, 1)
        self.assert_goes_on(self.client, self.rest, 1)
        self.assertEqual(self.status_of(self.data)["epoch"], epoch)
        rest = self.half(self.client, 1, 2)
        self.follower()
        self.passed(self.data, 1)
        self.assert_goes_on(self.client, rest, 2)

    def test_new_dies_ready(self):
        self.begin(new_env={"ENGINE_DIE_IN": "ready"})
        self.assert_old_goes_on(1)

    def test_new_dies_answered(self):
        self.begin(new_env={"ENGINE_DIE_IN": "answered"})
        self.assert_old_goes_on(1)

    def test_new_dies_taking(self):
        """R6: the old one goes on in a new term, with its clients connected."""
        self.begin(new_env={"ENGINE_DIE_IN": "taking"})
        self.assert_old_goes_on(3)

    def assert_new_goes_on(self):
        self.assertEqual(self.old.wait(), -signal.SIGKILL)
        self.wait_phase(self.new, "running")
        self.assert_goes_on(self.client, self.rest, 1)
        self.assertEqual(self.connect().ack(order(1, 1)).seq, 1)

    def test_old_dies_granted(self):
        self.begin(old_env={"ENGINE_DIE_IN": "granted"})
        self.assert_new_goes_on()

    def test_old_dies_fenced(self):
        self.begin(old_env={"ENGINE_DIE_IN": "fenced"})
        self.assert_new_goes_on()

    def test_old_dies_stopped(self):
        """Nothing was passed yet: its clients come again to the next process, and resend."""
        self.begin(old_env={"ENGINE_DIE_IN": "stopped"})
        self.assertEqual(self.old.wait(), -signal.SIGKILL)
        self.assertRaises(Ended, self.client.receive)
        again = self.engine(self.data, program=ENGINE_NEW)
        self.wait_phase(again, "running")
        self.assertEqual(self.connect().ack(order(1, 1)).seq, 1)

    def test_old_dies_when_it_has_offered(self):
        """The standby holds copies until it hears from the next process: then it closes them."""
        self.begin(old_env={"ENGINE_DIE_IN": "offered"})
        self.assertEqual(self.old.wait(), -signal.SIGKILL)
        again = self.engine(self.data, program=ENGINE_NEW)
        self.wait_phase(again, "running")
        self.assertRaises(Ended, self.client.receive)
        self.assertEqual(self.connect().ack(order(1, 1)).seq, 1)

    def test_new_dies_serving(self):
        """Its header stands: the old one is fenced and closes its copies, so that clients see the end."""
        self.begin(new_env={"ENGINE_DIE_IN": "serving"})
        self.assertEqual(self.new.wait(), -signal.SIGKILL)
        self.assertEqual(self.old.wait(), 0)
        self.assertRaises(Ended, self.client.receive)
        again = self.engine(self.other, program=ENGINE_NEW)
        self.wait_phase(again, "running")
        self.assertEqual(self.connect().ack(order(1, 1)).seq, 1)


class Stops(ConnectionsCase):
    def test_an_abort_leaves_every_client_where_it_was(self):
        """The standby stands still when it has answered; the gap is over, and the old one goes on."""
        self.active()
        slow, client = self.connect(), self.connect()
        slow.send(*[order(1 + n // 60, 1 + n, price=1) for n in range(3000)])
        wait_until(lambda: self.status_of(self.data)["released_seq"] == 3000, "all orders to be released")
        new = self.follower(program=HALTING, env={"ENGINE_STOP_IN": "answered"})
        rest = self.half(client, 500, 1)
        refused = self.handover(self.data, "--max-gap", "100ms")
        self.assert_refused(refused, 1, "100 ms passed in step 'offered'")
        self.assert_goes_on(client, rest, 1)
        self.assertEqual([Ack(slow.receive_of(ACK)).client_seq for _ in range(3000)], list(range(1, 3001)))
        client.close()  # while the one that stands still has a copy of its socket
        ended = self.connect()
        ended.send(frame(99))
        ended.error()
        new.send(signal.SIGCONT)
        self.wait_level(new, self.data)
        rest = self.half(slow, 400, 1)
        new.kill()
        self.follower()
        self.passed(self.data, 1)
        self.assert_goes_on(slow, rest, 1)

    def test_an_end_reaches_a_client_although_a_standby_that_stands_still_has_a_copy(self):
        self.active()
        client = self.connect()
        rest = self.half(client, 1, 1)
        self.follower(program=HALTING, env={"ENGINE_STOP_IN": "answered"})
        self.assertEqual(self.handover(self.data, "--max-gap", "100ms").status, 1)
        self.assert_goes_on(client, rest, 1)
        client.send(frame(99))
        client.error()

    def test_an_old_one_that_stands_still_touches_nothing(self):
        """Stopped after the grant: the successor serves its clients; it wakes, and closes its copies."""
        old = self.active(program=HALTING, env={"ENGINE_STOP_IN": "granted"})
        client = self.connect()
        self.follower()
        rest = self.half(client, 1, 1)
        asked = self.ask_handover(self.data, *PATIENT)
        self.assert_goes_on(client, rest, 1)
        self.wait_stopped(old)
        bad = self.half(client, 1, 2)
        old.send(signal.SIGCONT)
        self.assertEqual(old.wait(), 0)
        asked.wait()
        self.assert_goes_on(client, bad, 2)

    def test_a_client_that_hangs_up_in_the_gap_is_gone(self):
        self.active()
        leaver, stayer = self.connect(), self.connect()
        new = self.follower(program=HALTING, env={"ENGINE_STOP_IN": "taking"})
        half, rest = self.half(leaver, 1, 1), self.half(stayer, 2, 1)
        asked = self.ask_handover(self.data, *PATIENT)
        self.wait_stopped(new)
        leaver.send(half)
        leaver.close()
        stayer.send(rest)
        new.send(signal.SIGCONT)
        self.assertEqual(Ack(stayer.receive_of(ACK)).outcome, DONE)
        self.assertEqual(asked.wait(), 0)
        descriptors = len(os.listdir(f"/proc/{new.pid}/fd"))
        self.assertGreater(descriptors, 0)
        self.assertEqual(self.connect().ack(order(1, 1)).outcome, DONE)  # taken in before the end, or now


if __name__ == "__main__":
    main()
