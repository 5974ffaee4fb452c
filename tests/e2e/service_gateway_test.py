"""The gateway by its real program: clients in front, and an order service behind it that goes away and comes again."""
import csv
import http.client
import json
import os
import socket
import struct

import process
from exchange_case import ORDERS_PROGRAM, MatchingCase, OrdersCase
from exchange_stage import ADMIN, Server, Wire, barrier, kill_switch, limit
from exchange_wire import DEPOSIT, ORDERS, QUERY, WITHDRAW, transfer
from handover_case import LOAD
from service_client import (ACK, BAD_COMMAND, CLIENTS_FULL, DONE, ERROR, FILL, HELLO, NEW_ORDER, NOT_HERE, WELCOME, Ack,
                            Client, Ended, clock, frame, order, switch)
from workdir import DEADLINE_S, TestCase, connect_unix, main, wait_until

GATEWAY = process.program("gateway")


def ack(client, seq, entry=None, outcome=DONE, of_type=NEW_ORDER):
    return frame(ACK, struct.pack("<QQQQQHH4x", client, seq, seq if entry is None else entry, 0, 10, outcome, of_type))


def fill(client, seq, trade_id, taker=0):
    return frame(FILL, struct.pack("<QQQqQQBB6x", client, seq, trade_id, 100, 1, 9, taker, 0))


class Orders(Server):
    """An order service by hand: it keeps what comes, and says what it is told to say."""

    def __init__(self, case, path):
        self.taken, self.lives, self.wire = [], 0, None
        super().__init__(case, path)

    def hang_up(self):
        if self.wire:
            self.wire.hang_up()

    def say(self, *frames):
        self.wire.send(*frames)

    def wait_taken(self, *expected):
        """All that came since the last time: (client, seq) of commands, in order."""
        wait_until(lambda: len(self.taken) >= len(expected), f"{len(expected)} commands: there are {self.taken}")
        taken, self.taken = self.taken[:len(expected)], self.taken[len(expected):]
        assert [struct.unpack_from("<QQ", body) for _, body in taken] == list(expected), taken
        return taken

    def talk(self, wire):
        self.wire = wire
        while (got := wire.receive()) is not None:
            if got[0] == HELLO:
                self.lives += 1
                wire.send(frame(WELCOME, struct.pack("<IIQ32s", 1, 0, self.lives, b"by hand")))
            else:
                self.taken.append(got)


class Gateways:
    """For a TestCase."""

    def gateway(self, upstream, *options, before=()):
        listen = self.socket_path("gateway")
        page, admin = (os.path.join(os.path.dirname(listen), name) for name in ("http", "admin"))
        child = self.spawn(*before, GATEWAY, "--orders", f"unix:{upstream}", "--listen", f"unix:{listen}", "--http",
                           f"unix:{page}", "--admin", f"unix:{admin}", *options)
        child.path, child.http, child.admin = listen, page, admin
        child.wait_for("gateway.listening", "stderr")
        return child

    def get(self, gateway, path, method="GET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            connect_unix(stream, gateway.http)
            stream.settimeout(DEADLINE_S)
            connection = http.client.HTTPConnection("gateway")
            connection.sock = stream
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def health(self, gateway):
        return json.loads(self.get(gateway, "/health")[1])

    def count(self, gateway, name):
        for line in self.get(gateway, "/metrics")[1].splitlines():
            if line.startswith(f"exchange_gateway_{name} "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def client_of(self, gateway):
        return Client(self, f"unix:{gateway.path}")

    def operator_of(self, gateway):
        return Client(self, f"unix:{gateway.admin}")


class Sessions(Gateways, TestCase):
    def setUp(self):
        self.workdir()
        self.path = self.socket_path("orders")
        self.orders = Orders(self, self.path)

    def test_each_client_is_told_its_own_answers_once(self):
        gateway = self.gateway(self.path)
        first, second = self.client_of(gateway), self.client_of(gateway)
        first.send(order(1, 1), order(1, 2))
        self.orders.wait_taken((1, 1), (1, 2))
        second.send(order(2, 1))
        self.assertEqual(self.orders.wait_taken((2, 1)), [(NEW_ORDER, order(2, 1)[8:])])
        self.orders.say(ack(1, 1), fill(1, 1, 7), fill(2, 1, 7, taker=1), ack(2, 1))
        self.orders.say(ack(1, 1), fill(1, 1, 7), fill(2, 1, 7, taker=1), ack(2, 1))
        self.orders.say(fill(1, 1, 8), ack(1, 2), fill(2, 1, 8))
        self.assertEqual([kind for kind, _ in (first.receive() for _ in range(4))], [ACK, FILL, FILL, ACK])
        self.assertEqual([kind for kind, _ in (second.receive() for _ in range(3))], [FILL, ACK, FILL])
        self.assertEqual([self.count(gateway, name) for name in
                          ("commands_total", "acks_total", "acks_dropped_total", "fills_total", "fills_dropped_total")],
                         [3, 3, 2, 4, 2])

    def test_a_new_connection_to_the_order_service_gets_what_has_no_answer_and_learns_who_is_here(self):
        gateway = self.gateway(self.path)
        client, quiet, gone = (self.client_of(gateway) for _ in range(3))
        for which, number in ((quiet, 2), (gone, 3), (client, 1)):
            which.send(*[order(number, n) for n in range(1, 6)])
            self.orders.wait_taken(*[(number, n) for n in range(1, 6)])
        self.orders.say(ack(1, 1), ack(1, 4), *[ack(2, n) for n in range(1, 6)])
        self.assertEqual([client.ack().client_seq for _ in range(2)], [1, 4])
        self.assertEqual([quiet.ack().client_seq for _ in range(5)], [1, 2, 3, 4, 5])
        gone.close()
        wait_until(lambda: self.health(gateway)["connections"] == 2, "one client to be gone")
        self.orders.hang_up()
        wait_until(lambda: self.orders.lives == 2, "another connection")
        self.orders.wait_taken((1, 2), (1, 3), (1, 5), (2, 5))
        client.send(order(1, 6))
        self.orders.wait_taken((1, 6))
        self.orders.say(ack(2, 5), fill(2, 5, 1), ack(1, 2), ack(1, 3), ack(1, 5), ack(1, 6))
        self.assertEqual([client.ack().client_seq for _ in range(4)], [2, 3, 5, 6])
        self.assertEqual(quiet.receive()[0], FILL)

    def test_clients_come_and_send_before_there_is_an_order_service(self):
        self.orders.close()
        os.unlink(self.path)
        gateway = self.gateway(self.path)
        client = self.client_of(gateway)
        client.send(*[order(1, n) for n in range(1, 4)], order(1, 2))
        wait_until(lambda: self.health(gateway)["open"] == 3, "three open commands")
        self.assertNotEqual(self.health(gateway)["upstream"]["state"], "live")
        self.orders = Orders(self, self.path)
        self.orders.wait_taken((1, 1), (1, 2), (1, 3))
        self.assertEqual(self.health(gateway)["upstream"], {"service": "order-service", "state": "live", "connected_count": 1})
        self.assertEqual(self.count(gateway, "resends_total"), 1)

    def test_a_client_with_64_unanswered_commands_waits_and_others_do_not(self):
        gateway = self.gateway(self.path)
        client, other = self.client_of(gateway), self.client_of(gateway)
        client.send(*[order(1, n) for n in range(1, 71)])
        self.orders.wait_taken(*[(1, n) for n in range(1, 65)])
        other.send(*[order(2, n) for n in range(1, 4)])
        self.orders.wait_taken((2, 1), (2, 2), (2, 3))
        self.orders.say(*[ack(1, n) for n in range(2, 65)])
        self.assertEqual([client.ack().client_seq for _ in range(63)], list(range(2, 65)))
        other.send(order(2, 4))
        self.orders.wait_taken((2, 4))
        self.orders.say(ack(1, 1))
        self.orders.wait_taken(*[(1, n) for n in range(65, 71)])

    def test_a_first_command_that_has_to_wait_for_room_goes_on_when_there_is_some(self):
        gateway = self.gateway(self.path, "--open-max", "1")
        first, waiting = self.client_of(gateway), self.client_of(gateway)
        first.send(order(1, 1))
        self.orders.wait_taken((1, 1))
        waiting.send(order(2, 1), order(2, 2))
        self.assertEqual(self.health(gateway)["open"], 1)
        self.orders.say(ack(1, 1))
        for number in (1, 2):
            self.orders.wait_taken((2, number))
            self.orders.say(ack(2, number))
            self.assertEqual(waiting.ack().client_seq, number)
        self.assertEqual(self.count(gateway, "given_up_total"), 0)

    def test_what_has_no_answer_is_asked_again_and_forgotten_when_its_client_is_gone(self):
        gateway = self.gateway(self.path, "--ask-again", "0.1")
        client = self.client_of(gateway)
        client.send(order(1, 1))
        self.orders.wait_taken((1, 1), (1, 1), (1, 1))
        self.orders.say(ack(1, 1))
        self.assertEqual(client.ack().client_seq, 1)
        client.send(order(1, 2))
        client.close()
        wait_until(lambda: self.count(gateway, "given_up_total") == 1, "it to be given up")
        self.assertEqual((self.health(gateway)["open"], self.orders.lives), (0, 1))

    def test_queries_are_answered_to_whoever_asks(self):
        gateway = self.gateway(self.path)
        askers = [self.client_of(gateway) for _ in range(3)]
        for number, asker in enumerate(askers):
            asker.send(frame(QUERY, struct.pack("<QQQ", 1, number, 0)))
            self.orders.wait_taken((1, number))
        askers[1].close()
        wait_until(lambda: self.health(gateway)["connections"] == 2, "the second asker to be gone")
        self.orders.hang_up()
        self.orders.wait_taken((1, 0), (1, 1), (1, 2))
        for number in range(3):
            self.orders.say(frame(ORDERS, struct.pack("<QQQII", 1, number, 0, 0, 0)))
        for number in (0, 2):
            self.assertEqual(struct.unpack_from("<QQ", askers[number].receive_of(ORDERS)), (1, number))

    def test_what_the_order_service_would_refuse_ends_one_connection_and_not_all(self):
        gateway = self.gateway(self.path, "--clients-max", "1")
        client = self.client_of(gateway)
        client.send(order(1, 1))
        self.orders.wait_taken((1, 1))
        for wrong in (frame(99), frame(NEW_ORDER, b"short"), frame(11, b"8 bytes."), frame(QUERY), b"\xff" * 16):
            other = self.client_of(gateway)
            other.send(wrong)
            self.assertIn("10", str(other.error()[0]))
        other = self.client_of(gateway)
        self.assertEqual(other.ack(order(1 << 24, 1)).outcome, BAD_COMMAND)
        self.assertEqual(other.ack(order(2, 1)).outcome, CLIENTS_FULL)
        self.orders.say(ack(1, 1))
        self.assertEqual(client.ack().outcome, DONE)
        self.assertEqual((self.orders.lives, self.orders.taken), (1, []))

    def test_operators_commands_come_in_at_their_own_door_and_orders_do_not(self):
        gateway = self.gateway(self.path)
        client, operator = self.client_of(gateway), self.operator_of(gateway)
        commands = (transfer(DEPOSIT, ADMIN, 1, 1, 2, 100), transfer(WITHDRAW, ADMIN, 2, 1, 2, 50), kill_switch(3, 0, 1), limit(4, 1, 10, 10),
                    switch(ADMIN, 5, 1), clock(ADMIN, 6, 1))
        for command in commands:
            refused = client.ack(command)
            self.assertEqual((refused.client, refused.seq, refused.outcome), (ADMIN, 0, NOT_HERE))
        refused = operator.ack(order(ADMIN, 1))
        self.assertEqual((refused.outcome, refused.of_type), (NOT_HERE, NEW_ORDER))
        operator.send(*commands)
        taken = self.orders.wait_taken(*[(ADMIN, n) for n in range(1, 7)])
        self.assertEqual([frame(*one) for one in taken], list(commands))
        self.orders.say(*[ack(ADMIN, n, of_type=DEPOSIT) for n in range(1, 7)])
        self.assertEqual([operator.ack().client_seq for _ in commands], list(range(1, 7)))
        operator.send(frame(QUERY, struct.pack("<QQQ", 1, 0, 0)))
        self.orders.wait_taken((1, 0))
        self.orders.say(frame(ORDERS, struct.pack("<QQQII", 1, 0, 0, 0, 0)))
        operator.receive_of(ORDERS)
        self.assertEqual(self.count(gateway, "not_here_total"), 7)
        operator.send(barrier(1))
        self.assertIn("the order service itself", operator.error()[1])

    def test_without_an_operators_door_nobody_moves_money(self):
        gateway = self.gateway(self.path, "--admin", "")
        self.assertFalse(os.path.exists(gateway.admin))
        self.assertEqual(self.client_of(gateway).ack(transfer(DEPOSIT, ADMIN, 1, 1, 2, 100)).outcome, NOT_HERE)
        self.assertEqual(self.orders.taken, [])

    def test_another_user_is_no_operator(self):
        if os.geteuid() != 0:
            self.skipTest("only root can be somebody else")
        gateway = self.gateway(self.path)
        os.chmod(os.path.dirname(gateway.admin), 0o755)
        os.chmod(gateway.admin, 0o777)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
            self.connect_as(65534, stranger, gateway.admin)
            kind, body = Wire(stranger).receive()
        self.assertEqual(kind, ERROR)
        self.assertIn(b"not a user that may operate this process", body)
        self.operator_of(gateway).send(transfer(DEPOSIT, ADMIN, 1, 1, 2, 100))
        self.orders.wait_taken((ADMIN, 1))

    def connect_as(self, user, stream, path):
        """Who connects is who is asked about, whoever has the socket later."""
        child = os.fork()
        if child == 0:
            try:
                os.setresuid(user, user, user)
                stream.connect(path)
            except OSError:
                os._exit(1)
            os._exit(0)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        stream.settimeout(DEADLINE_S)

    def test_an_operator_finds_a_place_in_a_house_full_of_clients(self):
        gateway = self.gateway(self.path, before=("prlimit", "--nofile=88:88"))
        clients = 0
        with self.assertRaises((AssertionError, OSError, Ended)):  # as many connections as there may be
            while True:
                self.client_of(gateway)
                clients += 1
        self.assertGreater(clients, 8)
        self.operator_of(gateway).send(kill_switch(1, 0, 1))
        self.orders.wait_taken((ADMIN, 1))

    def test_an_order_service_that_talks_nonsense_is_dialed_again(self):
        gateway = self.gateway(self.path)
        client = self.client_of(gateway)
        client.send(order(1, 1))
        self.orders.wait_taken((1, 1))
        for life, wrong in enumerate((b"\xff" * 16, frame(ACK, b"short"), frame(HELLO), frame(ORDERS, bytes(32))), 2):
            self.orders.say(wrong)
            wait_until(lambda n=life: self.orders.lives == n, "another connection")
            self.orders.wait_taken((1, 1))
        self.orders.say(ack((1 << 64) - 1, 1), ack(1, 1))
        self.assertEqual(client.ack().client_seq, 1)


class Life(Gateways, TestCase):
    def setUp(self):
        self.workdir()
        self.path = self.socket_path("orders")
        self.orders = Orders(self, self.path)

    def test_sigterm_takes_nothing_in_and_waits_for_what_is_open(self):
        gateway = self.gateway(self.path, "--drain-deadline", str(DEADLINE_S))
        client = self.client_of(gateway)
        client.send(order(1, 1), order(1, 2))
        self.orders.wait_taken((1, 1), (1, 2))
        gateway.send(15)
        wait_until(lambda: self.get(gateway, "/health")[0] == 503, "it to drain")
        self.assertEqual(self.health(gateway)["status"], "draining")
        self.assertFalse(os.path.exists(gateway.path))
        client.send(order(1, 3))
        self.orders.say(ack(1, 1), ack(1, 2))
        self.assertEqual([Ack(client.receive_of(ACK)).client_seq for _ in range(2)], [1, 2])
        self.assertEqual(gateway.wait(), 0)
        with self.assertRaises(Ended):
            client.receive()
        self.assertEqual(self.orders.taken, [])

    def test_sigterm_does_not_wait_beyond_its_deadline(self):
        gateway = self.gateway(self.path, "--drain-deadline", "0.05")
        client = self.client_of(gateway)
        client.send(order(1, 1))
        self.orders.wait_taken((1, 1))
        self.assertEqual(gateway.terminate(), 0)
        self.assertIn("gateway.stopped open=1", gateway.err())

    def test_health_names_the_instance_and_other_paths_are_not_there(self):
        one, other = self.gateway(self.path), self.gateway(self.path)
        health = self.health(one)
        self.assertEqual((health["service"], health["status"], health["instance"]["pid"]), ("gateway", "serving", one.pid))
        self.assertNotEqual(health["instance"]["nonce"], self.health(other)["instance"]["nonce"])
        self.assertEqual(self.get(one, "/health", "HEAD"), (200, ""))
        self.assertEqual(self.get(one, "/other")[0], 404)
        self.assertEqual(self.get(one, "/health", "POST")[0], 405)
        self.assertIn("# TYPE exchange_gateway_upstream_up gauge", self.get(one, "/metrics")[1])

    def test_over_tcp_the_addresses_in_use_are_written_down(self):
        ports = self.workdir() / "ports"
        child = self.spawn(GATEWAY, "--orders", f"unix:{self.path}", "--listen", "tcp:127.0.0.1:0", "--http", "tcp:127.0.0.1:0",
                           "--admin", "tcp:127.0.0.1:0", "--port-file", ports)
        wait_until(ports.exists, "the addresses")
        clients, page, admin = ports.read_text().splitlines()
        client = Client(self, clients)
        client.send(order(1, 1))
        self.orders.wait_taken((1, 1))
        self.orders.say(ack(1, 1))
        self.assertEqual(client.ack().client_seq, 1)
        connection = http.client.HTTPConnection(page.removeprefix("tcp:"), timeout=DEADLINE_S)
        self.addCleanup(connection.close)
        connection.request("GET", "/health")
        self.assertEqual(json.load(connection.getresponse())["connections"], 1)
        self.assertEqual(Client(self, admin).ack(order(1, 1)).outcome, NOT_HERE)
        self.assertEqual(child.terminate(), 0)

    def test_silent_http_guests_keep_no_client_waiting(self):
        gateway = self.gateway(self.path)
        for _ in range(20):
            guest = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.addCleanup(guest.close)
            connect_unix(guest, gateway.http)
            guest.sendall(b"GET /health HTTP/1.1\r\n")
        client = self.client_of(gateway)
        client.send(order(1, 1))
        self.orders.wait_taken((1, 1))

    def test_what_can_not_be_is_said_and_ends_with_1(self):
        gateway = self.gateway(self.path)
        for options, text in (
                ((), "--orders: missing"),
                (("--orders", "unix:x", "--open-max", "0"), "'0': out of its range"),
                (("--orders", "unix:x", "--drain-deadline", "soon"), "'soon': out of its range"),
                (("--orders", "unix:x", "more"), "'more': unexpected"),
                (("--orders", "unix:x", "--listen", "nowhere"), "listen on nowhere"),
                (("--orders", "unix:x", "--listen", "tcp:127.0.0.1:0", "--admin", "tcp:0.0.0.0:0"), "give unix:PATH"),
                (("--orders", "unix:x", "--listen", f"unix:{gateway.path}"), "another process listens there")):
            result = process.run(GATEWAY, *options, check=1)
            self.assertIn(text, result.stderr)
            self.assertTrue(result.stderr.startswith("baton: "), result.stderr)
        self.assertIn("Examples:", process.run(GATEWAY, "--help", check=0).stdout)


class LoadCase(Gateways):
    def load(self, path, *options):
        self.summary, self.acks = self.root / "load.json", self.root / "acks.csv"
        return self.spawn(LOAD, "--connect", f"unix:{path}", "--clients", "16", "--json", self.summary, "--acks-out",
                          self.acks, *options)

    def assert_each_acked_once(self, load, count):
        """exchange-load says 0: every command has one answer, none contradicts another, none says "not applied"."""
        status = load.wait()
        told = json.loads(self.summary.read_text())
        self.assertEqual((status, told["acked"], told["conflicts"], told["refused"]), (0, count, 0, 0), told)
        with open(self.acks) as file:
            seqs = [int(row["seq"]) for row in csv.DictReader(file)]
        self.assertEqual((len(seqs), len(set(seqs)), 0 in seqs), (count, count, False))
        return told


class Handover(LoadCase, OrdersCase):
    def test_a_handover_of_the_order_service_is_latency_only(self):
        self.stage.answer = self.stage.rest
        old = self.service_runs()
        gateway = self.gateway(self.orders)
        load = self.load(gateway.path, "--orders", "1500", "--rate", "500")
        new = self.run_service(self.other, standby_of=self.data)
        self.wait_level(new, self.data)
        wait_until(lambda: self.count(gateway, "acks_total") > 0, "answers")
        self.handover(self.data, "--wait", "--max-gap", "30s", check=0)
        self.assertEqual(old.wait(), 0)
        told = self.assert_each_acked_once(load, 1500)
        self.assertEqual((told["connections"], told["resent"]), (1, 0))
        self.assertEqual(self.health(gateway)["upstream"]["connected_count"], 1)


class Faults(LoadCase, MatchingCase):
    def test_whoever_is_killed_every_order_is_acked_exactly_once(self):
        count = 2000
        service = self.service_runs()
        first, second = self.gateway(self.orders), self.gateway(self.orders)
        address = self.socket_path("gateways")  # a link: what stands before the replicas sends clients there
        os.symlink(first.path, address)
        load = self.load(address, "--orders", str(count), "--rate", "1000")
        # Nobody answers yet: what is open now is in doubt, first here, then with the client itself.
        wait_until(lambda: self.health(first)["open"] > 50, "open commands")
        service.kill()
        service = self.service_runs()
        wait_until(lambda: self.health(first)["upstream"]["connected_count"] == 2, "the gateway to come again")
        os.symlink(second.path, f"{address}.next")
        os.rename(f"{address}.next", address)
        first.kill()
        wait_until(lambda: self.health(second)["open"] > 50, "clients to send again")
        self.engine_runs()
        for answered in (100, 600, 1100):
            wait_until(lambda n=answered: self.count(second, "acks_total") >= n, f"{answered} answers")
            service.kill()
            service = self.service_runs()
        told = self.assert_each_acked_once(load, count)
        self.assertEqual(told["connections"], 2)
        self.assertGreater(told["resent"], 50)
        self.assertEqual(self.health(second)["open"], 0)
        self.assertEqual(service.terminate(), 0)
        process.run(ORDERS_PROGRAM, "baton", "verify", self.data, check=0)
        self.assertEqual(second.terminate(), 0)


if __name__ == "__main__":
    main()
