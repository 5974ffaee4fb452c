"""The other services of the exchange as a test wants them: a producer of effects, and a consumer of them.

The bytes: examples/exchange/protocol.h."""
import os
import socket
import struct
import threading

from exchange_wire import (BARRIER, CANCEL, CONFIRM, EFFECT, ERROR, HELLO, KILL, LIMIT, MATCHING_ENGINE, NEW_ORDER,
                           ORDER_SERVICE, REDUCE, REPLACE, REPORT, RISK_ENGINE, SUBSCRIBE, WELCOME, frame)
from service_client import hello, subscription
from workdir import DEADLINE_S, connect_unix, wait_until

ADMIN = 1000  # the client id that operators' commands come from
KEY = struct.Struct("<QQI4x")
BARRIER_BODY = struct.Struct("<QQQQ")  # id, and which entry it is in the order service, risk and matching engine
LAST, RESTS = 1, 3  # flags of a report
TRADES, GONE = 1, 2


def report(command, of_type, outcome=0, order_seq=None, price=100, size=10, filled=0, remaining=0, flags=LAST, side=0,
           items=0, parts=()):
    client, seq = command
    head = struct.pack("<QQQqQQQqQIIHHBBBB", client, seq, seq if order_seq is None else order_seq, price, size, filled,
                       remaining, 0, 0, 3, len(parts), outcome, of_type, side, 0, flags, items)
    return head + b"".join(parts)


def trade(number, maker, taker, size, maker_remaining=0, taker_remaining=0, price=100, taker_side=1):
    return struct.pack("<QQQQQqQQQB7x", number, *maker, *taker, price, size, maker_remaining, taker_remaining, taker_side)


def kill_switch(seq, client, on):
    return frame(KILL, struct.pack("<QQQB7x", ADMIN, seq, client, on))


def limit(seq, client, position_max, size_max):
    return frame(LIMIT, struct.pack("<QQQI4xQQ", ADMIN, seq, client, 0, position_max, size_max))


def barrier(number):
    return frame(BARRIER, BARRIER_BODY.pack(number, 0, 0, 0))


class Wire:
    """One stream of frames."""

    def __init__(self, stream):
        self.socket, self.unread = stream, b""
        stream.settimeout(DEADLINE_S)

    def receive(self):
        """(type, body), or None at the end."""
        head = self._take(8)
        if head is None:
            return None
        size, kind, _ = struct.unpack("<IHH", head)
        body = self._take(size)
        return None if body is None else (kind, body)

    def _take(self, count):
        while len(self.unread) < count:
            try:
                part = self.socket.recv(1 << 16)
            except OSError:
                part = b""
            if not part:
                return None
            self.unread += part
        taken, self.unread = self.unread[:count], self.unread[count:]
        return taken

    def send(self, *frames):
        try:
            self.socket.sendall(b"".join(frames))
        except OSError:
            pass  # it is gone: what is unconfirmed comes again

    def hang_up(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Server:
    """A service by hand, on a Unix socket: it talks with one that comes after the other."""

    def __init__(self, case, path):
        self.path, self._last = path, None
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(8)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        case.addCleanup(self.close)

    def close(self):
        if self.listener.fileno() < 0:
            return
        self.listener.shutdown(socket.SHUT_RDWR)
        if self._last:
            self._last.hang_up()
        self.thread.join(DEADLINE_S)
        self.listener.close()

    def talk(self, wire):
        """Until the other side has gone."""
        raise NotImplementedError

    def _serve(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            self._last = Wire(stream)
            self.talk(self._last)
            stream.close()


class Producer(Server):
    """Serves one consumer: what it has not confirmed, then what is new. Keys are (epoch, seq, 0)."""

    def __init__(self, case, path, consumer=ORDER_SERVICE):
        self.consumer = consumer
        self.lock = threading.Lock()
        self.epoch, self.seq = 1, 0
        self.kept, self.confirmed = [], []
        self.subscriptions = 0
        self.wire = None
        super().__init__(case, path)

    def emit(self, kind, payload):
        with self.lock:
            self.seq += 1
            head = KEY.pack(self.epoch, self.seq, 0) + struct.pack("<HH4x", kind, self.consumer)
            self.kept.append((self.seq, frame(EFFECT, head + payload)))
            if self.wire:
                self.wire.send(self.kept[-1][1])

    def forget_and_go_back(self):
        """As after a restore of old data: the next effects have a higher epoch and old seqs."""
        with self.lock:
            self.epoch, self.seq, self.kept = self.epoch + 1, 0, []

    def hang_up(self):
        with self.lock:
            if self.wire:
                self.wire.hang_up()

    def talk(self, wire):
        while (got := wire.receive()) is not None:
            kind, body = got
            if kind == HELLO:
                wire.send(frame(WELCOME, struct.pack("<IIQ32s", 1, 0, self.epoch, b"stage")))
            elif kind == SUBSCRIBE:
                assert struct.unpack("<H6x", body)[0] == self.consumer, body
                with self.lock:
                    self.subscriptions += 1
                    self.wire = wire
                    wire.send(*[bytes_ for _, bytes_ in self.kept])
            elif kind == CONFIRM:
                with self.lock:
                    seq = KEY.unpack(body)[1]
                    self.confirmed.append(seq)
                    self.kept = [one for one in self.kept if one[0] > seq]
        with self.lock:
            if self.wire is wire:
                self.wire = None


class Consumer:
    """Subscribes to a feed, again and again; takes each effect once, by its key, and hands it to on_effect."""

    def __init__(self, case, path, number, on_effect):
        self.path, self.number, self.on_effect = path, number, on_effect
        self.highest, self.again, self.ended = (0, 0, 0), 0, False
        self.epochs, self.wrong = 0, []
        self.wire = None
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()
        case.addCleanup(self.close)

    def close(self):
        self.ended = True
        if self.wire:
            self.wire.hang_up()
        self.thread.join(DEADLINE_S)

    def _follow(self):
        wait = threading.Event()
        while not self.ended:
            stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connect_unix(stream, self.path)
                self.wire = Wire(stream)
                self.wire.send(hello(), subscription(self.number))
                self._take()
            except OSError:
                pass
            finally:
                stream.close()
            wait.wait(0.02)

    def _take(self):
        while not self.ended and (got := self.wire.receive()) is not None:
            kind, body = got
            if kind != EFFECT:
                if kind not in (WELCOME, ERROR):
                    self.wrong.append(got)
                continue
            epoch, seq, index = key = KEY.unpack_from(body)
            effect_type, consumer = struct.unpack_from("<HH", body, 24)
            if consumer != self.number:
                self.wrong.append(got)
            if (seq, index) <= self.highest[1:]:
                self.again += 1
            else:
                if epoch < self.highest[0]:
                    self.wrong.append(got)
                self.highest = key
                self.on_effect(effect_type, body[32:])
            self.wire.send(frame(CONFIRM, body[:24]))


class Stage:
    """Risk engine and matching engine in one: takes the order service's commands, and answers as it is told."""

    def __init__(self, case, feed):
        directory = os.path.dirname(case.socket_path("stage"))
        self.risk = Producer(case, os.path.join(directory, "risk"))
        self.matching = Producer(case, os.path.join(directory, "matching"))
        self.taken, self.answer = [], None
        self.consumer = Consumer(case, feed, RISK_ENGINE, self._on_command)

    def options(self):
        return ("--risk", f"unix:{self.risk.path}", "--matching", f"unix:{self.matching.path}")

    def _on_command(self, kind, body):
        self.taken.append((kind, body))
        if self.answer:
            self.answer(kind, body)

    def wait_taken(self, count):
        wait_until(lambda: len(self.taken) >= count, f"{count} commands to come to the risk engine")

    def rest(self, kind, body):
        """Every new order rests; every cancel is done; a barrier comes back."""
        if kind == BARRIER:
            self.risk.emit(BARRIER, body)
            self.matching.emit(BARRIER, body)
            return
        command = struct.unpack_from("<QQ", body)
        if kind == NEW_ORDER:
            size = struct.unpack_from("<Q", body, 24)[0]
            self.matching.emit(REPORT, report(command, kind, size=size, remaining=size, flags=RESTS))
        elif kind in (CANCEL, REDUCE, REPLACE):
            order_seq = struct.unpack_from("<Q", body, 16)[0]
            self.matching.emit(REPORT, report(command, kind, order_seq=order_seq, remaining=10))


class Passing:
    """A risk engine that lets everything through: consumer of the order service's feed, producer for the real matching
    engine. It keeps what is unconfirmed on both sides, as a real one does."""

    def __init__(self, case, feed):
        self.producer = Producer(case, os.path.join(os.path.dirname(case.socket_path("passing")), "risk"), MATCHING_ENGINE)
        self.consumer = Consumer(case, feed, RISK_ENGINE, self.producer.emit)
