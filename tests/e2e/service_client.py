"""A client of the matching engine as a test wants one: it may break every rule.

The bytes: examples/exchange/protocol.h."""
import json
import os
import socket
import struct

import process
from exchange_wire import (ACK, BUY, CANCEL, CLOCK, CONFIRM, DONE, EFFECT, ERROR, EXPIRED, FILL, HELLO, MARKET_DATA,
                           MATCHING_ENGINE, NEW_ORDER, ORDER_SERVICE, REDUCE, REPLACE, REPORT, RISK_ENGINE, SELL, SETTLEMENT,
                           SUBSCRIBE, SWITCH, WELCOME, frame)
from workdir import DEADLINE_S, TestCase

GTC, GTD, IOC = 0, 1, 2
UNKNOWN_ORDER, BAD_SIZE, TOO_LATE, TOO_OLD, CLIENTS_FULL, BAD_COMMAND, NOT_HERE = 2, 3, 64, 65, 66, 67, 68
BODY_BYTES_MAX = 8192
OUTCOMES_KEPT = 64

OLD, NEW = process.program("matching-engine-1.0.0"), process.program("matching-engine-1.1.0")


def hello(version=1):
    return frame(HELLO, struct.pack("<II", version, 0))


def order(client, seq, price=100, size=10, side=BUY, time_in_force=GTC, expire_ns=0):
    return frame(NEW_ORDER, struct.pack("<QQqQQBB6x", client, seq, price, size, expire_ns, side, time_in_force))


def cancel(client, seq, order_seq):
    return frame(CANCEL, struct.pack("<QQQI4x", client, seq, order_seq, 0))


def replace(client, seq, order_seq, price, size=0):
    return frame(REPLACE, struct.pack("<QQQIB3xqQ", client, seq, order_seq, 0, 0, price, size))


def clock(client, seq, now_ns):
    return frame(CLOCK, struct.pack("<QQQ", client, seq, now_ns))


def switch(client, seq, features):
    return frame(SWITCH, struct.pack("<QQII", client, seq, features, 0))


def subscription(consumer=MARKET_DATA):
    return frame(SUBSCRIBE, struct.pack("<H6x", consumer))


class Ack:
    def __init__(self, body):
        (self.client, self.client_seq, self.seq, self.filled, self.remaining, self.outcome,
         self.of_type) = struct.unpack("<QQQQQHH4x", body)
        self.body = body


def trades_of(body):
    """Of an EFFECT's body: (trade id, maker's client and seq, ...) of each trade that its report tells."""
    head = 32 + 88  # exchange_effect, exchange_report
    count, items = struct.unpack_from("<I", body, 32 + 76)[0], body[32 + 87]
    if items != 1:
        return []
    assert len(body) == head + 80 * count, len(body)
    return [struct.unpack_from("<QQQQQqQQQB", body, head + 80 * number) for number in range(count)]


class Ended(Exception):
    """The engine has ended the connection."""


class Client:
    """connect is the text of --listen. greet=False says nothing."""

    def __init__(self, case, connect, greet=True):
        kind, _, rest = connect.partition(":")
        if kind == "unix":
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            address = rest
        else:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            host, _, port = rest.rpartition(":")
            address = (host, int(port))
        case.addCleanup(self.socket.close)
        # Not settimeout() yet: then a full backlog would be an error and not a wait.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(DEADLINE_S), 0))
        self.socket.connect(address)
        self.socket.settimeout(DEADLINE_S)
        self.unread = b""
        if greet:
            self.send(hello())
            kind, body = self.receive()
            assert kind == WELCOME, kind
            self.epoch = struct.unpack_from("<Q", body, 8)[0]
            self.version = body[16:48].rstrip(b"\0").decode()

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def receive(self):
        """(type, body) of the next frame. Ended at the end of the connection."""
        head = self._take(8)
        size, kind, zero = struct.unpack("<IHH", head)
        assert zero == 0
        return kind, self._take(size)

    def _take(self, count):
        while len(self.unread) < count:
            try:
                part = self.socket.recv(1 << 20)
            except (ConnectionResetError, BrokenPipeError):
                part = b""
            if not part:
                raise Ended()
            self.unread += part
        taken, self.unread = self.unread[:count], self.unread[count:]
        return taken

    def receive_of(self, kind):
        """The next frame of this type; others before it are passed over."""
        while True:
            got, body = self.receive()
            if got == kind:
                return body
            assert got != ERROR, body

    def receive_trades(self):
        """The next EFFECT that tells of a trade; reports without one are passed over."""
        while True:
            body = self.receive_of(EFFECT)
            if trades_of(body):
                return body

    def ack(self, *frames):
        """Send, and take the next answer."""
        self.send(*frames)
        return Ack(self.receive_of(ACK))

    def error(self):
        """(status, text) of the ERROR that comes now; after it the connection must end."""
        kind, body = self.receive()
        assert kind == ERROR, kind
        try:
            while True:
                raise AssertionError(f"a frame after ERROR: {self.receive()}")
        except Ended:
            pass
        return struct.unpack_from("<I", body)[0], body[4:].rstrip(b"\0").decode()

    def close(self):
        self.socket.close()


class ServiceCase(TestCase):
    """Engines on Unix sockets, each ended at the test's end."""

    def setUp(self):
        self.directory = self.workdir()
        self.data = self.directory / "data"
        self.orders_path = self.socket_path("orders")

    def engine(self, *options, program=OLD, listen=None, data=None):
        """Started and ready; its .listen is where clients connect, .feed where the feed is."""
        sockets = os.path.dirname(self.orders_path)
        listen = listen or f"unix:{self.orders_path}"
        ready, writer = os.pipe()
        port_file = self.directory / "ports"
        port_file.unlink(missing_ok=True)
        child = self.spawn(program, "run", "--dir", data or self.data, "--listen", listen, "--control",
                           f"{sockets}/control", "--port-file", port_file, "--ready-fd", writer, *options,
                           pass_fds=(writer,))
        os.close(writer)
        with os.fdopen(ready) as pipe:
            line = pipe.readline()
        if not line:
            child.wait()
            raise AssertionError(f"the engine did not start: {child.err()[-3000:]}")
        child.ready = json.loads(line)
        child.listen, child.feed = port_file.read_text().split("\n")[:2]
        return child

    def client(self, engine, greet=True):
        return Client(self, engine.listen, greet)


__all__ = ["ACK", "BAD_COMMAND", "BAD_SIZE", "BODY_BYTES_MAX", "BUY", "CANCEL", "CLIENTS_FULL", "CLOCK", "CONFIRM", "DONE",
           "EFFECT", "ERROR", "EXPIRED", "FILL", "GTC", "GTD", "HELLO", "IOC", "MARKET_DATA", "MATCHING_ENGINE", "NEW",
           "NEW_ORDER", "NOT_HERE", "OLD", "ORDER_SERVICE", "OUTCOMES_KEPT", "REDUCE", "REPLACE", "REPORT", "RISK_ENGINE",
           "SELL", "SETTLEMENT", "SUBSCRIBE", "SWITCH", "TOO_LATE", "TOO_OLD", "UNKNOWN_ORDER", "WELCOME", "Ack", "Client",
           "Ended", "ServiceCase", "cancel", "clock", "frame", "hello", "order", "replace", "subscription", "switch",
           "trades_of"]
