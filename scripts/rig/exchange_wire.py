"""One connection to a service of the exchange, as an operator's script wants it: it asks, and waits for the answer.

The bytes: examples/exchange/protocol.h."""
import contextlib
import socket
import struct

DEADLINE_S = 120  # only bounds a hang

HELLO, NEW_ORDER, CANCEL, REDUCE, CLOCK, SUBSCRIBE, CONFIRM, SWITCH, REPLACE, QUERY, BARRIER = range(1, 12)
DEPOSIT, WITHDRAW, KILL, LIMIT, RECONCILE, ACCOUNT = range(12, 18)
WELCOME, ACK, FILL, EXPIRED, ERROR = range(64, 69)
REPORT, EFFECT, ORDERS, BARRIER_DONE, ACCOUNT_STATE, RECONCILED = range(70, 76)
LINKED = 33  # type of a consumer's entry
NOBODY, ORDER_SERVICE, RISK_ENGINE, MATCHING_ENGINE, SETTLEMENT, MARKET_DATA = range(6)
BUY, SELL = 0, 1
DONE = 0


def frame(kind, body=b""):
    return struct.pack("<IHH", len(body), kind, 0) + body


class Ended(OSError):
    """The other side has ended the connection."""


class Wire:
    """path: of a Unix socket."""

    def __init__(self, path):
        self.socket, self._unread = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), b""
        self.socket.settimeout(DEADLINE_S)
        try:
            self.socket.connect(str(path))
            self.send(frame(HELLO, struct.pack("<II", 1, 0)))
            self.receive_of(WELCOME)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def _take(self, count):
        while len(self._unread) < count:
            part = self.socket.recv(1 << 16)
            if not part:
                raise Ended("the connection has ended")
            self._unread += part
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    def receive(self):
        """(type, body) of the next frame."""
        size, kind, _ = struct.unpack("<IHH", self._take(8))
        return kind, self._take(size)

    def receive_of(self, kind):
        """The body of the next frame of this type; others before it are passed over."""
        while True:
            got, body = self.receive()
            if got == kind:
                return body
            if got == ERROR:
                raise ValueError(f"refused: {body[4:].rstrip(bytes(1)).decode()}")


def transfer(kind, sender, seq, client, asset, amount):
    """kind: DEPOSIT or WITHDRAW."""
    return frame(kind, struct.pack("<QQQQI4x", sender, seq, client, amount, asset))


def kill_switch(sender, seq, client, on):
    """client 0: of all."""
    return frame(KILL, struct.pack("<QQQB7x", sender, seq, client, on))


def limit(sender, seq, client, symbol, position_max, size_max):
    """0: no limit."""
    return frame(LIMIT, struct.pack("<QQQI4xQQ", sender, seq, client, symbol, position_max, size_max))


class Operator:
    """Commands of one client, the operator, straight to the order service: each is sent until it has its answer."""
    client = (1 << 24) - 1
    _in_flight = 50  # a client may have 64

    def __init__(self, path):
        self._path, self._seq, self._open = path, 0, {}

    def take(self, make):
        """make(client, seq): the frame. Its seq."""
        self._seq += 1
        self._open[self._seq] = make(self.client, self._seq)
        return self._seq

    def send(self):
        """What is open, once; nobody waits for the answers."""
        with contextlib.suppress(OSError), Wire(self._path) as wire:
            wire.send(*self._open.values())

    def finish(self):
        """{seq: outcome} of all that was open."""
        outcomes = {}
        with Wire(self._path) as wire:
            while self._open:
                part = [self._open[seq] for seq in sorted(self._open)[:self._in_flight]]
                wire.send(*part)
                while part:
                    _, seq, _, _, _, outcome, _ = struct.unpack("<QQQQQHH4x", wire.receive_of(ACK))
                    if self._open.pop(seq, None):
                        part.pop()
                        outcomes[seq] = outcome
        return outcomes


class Account:
    """What the risk engine says of one client: balances {asset: (available, held)}, exposures {symbol: fields}."""

    def __init__(self, wire, client):
        wire.send(frame(ACCOUNT, struct.pack("<Q", client)))
        body = wire.receive_of(ACCOUNT_STATE)
        of, balances, exposures, self.killed, self.all_killed = struct.unpack_from("<QIIBB6x", body)
        if (of, len(body)) != (client, 24 + 24 * balances + 56 * exposures):
            raise ValueError(f"asked for client {client}, told of {of} in {len(body)} bytes")
        rows = (struct.unpack_from("<I4xQQ", body, 24 + 24 * n) for n in range(balances))
        self.balances = {asset: (available, held) for asset, available, held in rows}
        rows = (struct.unpack_from("<I4xqqQQQQ", body, 24 + 24 * balances + 56 * n) for n in range(exposures))
        self.exposures = {symbol: fields for symbol, *fields in rows}


def reconcile(wire):
    """(seq, anomalies, accounts, orders): the risk engine has added up everything."""
    wire.send(frame(RECONCILE))
    return struct.unpack("<QQQQ", wire.receive_of(RECONCILED))


def open_orders(wire, client):
    """{seq: (symbol, side, price, remaining, status)}: what the order service says of a client's open orders."""
    found, more, last = {}, 1, 0
    while more:
        wire.send(frame(QUERY, struct.pack("<QQQ", client, 0, last)))
        body = wire.receive_of(ORDERS)
        count, more = struct.unpack_from("<II", body, 24)
        for n in range(count):
            _, last, price, _, _, remaining, _, symbol, status, side = struct.unpack_from("<QQqQQQQIBB", body, 32 + 72 * n)
            found[last] = (symbol, side, price, remaining, status)
    return found
