"""A client of the market data stream: by UDP multicast and TCP, and what its messages add up to.

The bytes: examples/exchange/market-data/market_data.h."""
import random
import socket
import struct
import threading

from exchange_wire import DEADLINE_S, Wire, frame

SNAPSHOT, REQUEST, PACKET, BOOK = 48, 49, 112, 113
LEVEL, TRADE, TOP = 1, 2, 3
BODIES = {LEVEL: struct.Struct("<IIqQB7x"), TRADE: struct.Struct("<QqQIB3x"), TOP: struct.Struct("<I4xqQqQ")}


def messages_of(packet):
    """stream, [(number, type, body)], the number that comes next."""
    stream, first, count, version = struct.unpack_from("<QQHH4x", packet)
    assert version == 1
    found, at = [], 24
    for number in range(first, first + count):
        kind, size = struct.unpack_from("<HH4x", packet, at)
        found.append((number, kind, packet[at + 8:at + 8 + size]))
        at += 8 + size
    assert at == len(packet), (at, len(packet))
    return stream, found, first + count


class MarketWire(Wire):
    def packet(self):
        return messages_of(self.receive_of(PACKET))

    def request(self, first, last):
        """The messages of a gap."""
        self.send(frame(REQUEST, struct.pack("<QQ", first, last)))
        found = []
        while len(found) < last - first + 1:
            found += self.packet()[1]
        return found

    def snapshot(self):
        """(number, {(symbol, side, price): (size, orders)})"""
        self.send(frame(SNAPSHOT))
        books, more = {}, 1
        while more:
            body = self.receive_of(BOOK)
            _, number, count, more = struct.unpack_from("<QQII", body)
            for n in range(count):
                _take_level(books, body[24 + 32 * n:56 + 32 * n])
        return number, books


def _take_level(books, body):
    symbol, orders, price, size, side = BODIES[LEVEL].unpack(body)
    books.pop((symbol, side, price), None)
    if orders:
        books[symbol, side, price] = (size, orders)


class Listener:
    """Hears the group, loses packets on purpose, and asks for every number that it misses. What a number says never
    changes."""

    def __init__(self, group, path, lose=0.0, seed=0):
        self.path, self.lose, self.random = path, lose, random.Random(seed)
        self.known, self.next, self.whole = {}, 1, 1  # all below `whole` is known, all below `next` was told of
        self.lost = self.asked = 0
        self.streams, self.wrong, self.ended = set(), [], False
        host, port = group.split(":")
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                               socket.inet_aton(host) + socket.inet_aton("127.0.0.1"))
        self.socket.settimeout(0.05)
        self.wire = None
        self.thread = threading.Thread(target=self._hear, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.ended = True
        self.thread.join(DEADLINE_S)
        self.socket.close()
        if self.wire:
            self.wire.close()

    def messages(self):
        """(type, body) from 1 on."""
        return [self.known[number] for number in range(1, self.whole)]

    def _hear(self):
        while not self.ended:
            try:
                packet = self.socket.recv(2048)
            except TimeoutError:
                packet = None
            if packet and self.random.random() < self.lose:
                self.lost += 1
            elif packet:
                self._take(*messages_of(packet))
            self._fill()

    def _take(self, stream, found, next_number):
        self.streams.add(stream)
        for number, *message in found:
            if self.known.setdefault(number, message) != message:
                self.wrong.append((number, self.known[number], message))
        self.next = max(self.next, next_number)
        while self.whole in self.known:
            self.whole += 1

    def _fill(self):
        while self.whole < self.next and not self.ended:
            last = self.whole
            while last + 1 < self.next and last + 1 not in self.known:
                last += 1
            try:
                self.wire = self.wire or MarketWire(self.path)
                self._take(next(iter(self.streams)), self.wire.request(self.whole, last), last + 1)
                self.asked += 1
            except OSError:  # it is away: later again
                if self.wire:
                    self.wire.close()
                self.wire = None
                return


def trades_of_messages(messages):
    """(trade id, price, size, symbol, taker's side)"""
    return [BODIES[TRADE].unpack(body) for kind, body in messages if kind == TRADE]


def books_of_messages(messages):
    """As told by levels, and the last top of each."""
    books, tops = {}, {}
    for kind, body in messages:
        if kind == LEVEL:
            _take_level(books, body)
        elif kind == TOP:
            symbol, *rest = BODIES[TOP].unpack(body)
            tops[symbol] = tuple(rest)
    return books, tops


def tops_of_books(books):
    tops = {}
    for symbol in {key[0] for key in books}:
        bids = [price for of, side, price in books if (of, side) == (symbol, 0)]
        asks = [price for of, side, price in books if (of, side) == (symbol, 1)]
        bid, ask = max(bids, default=0), min(asks, default=0)
        tops[symbol] = (bid, books.get((symbol, 0, bid), (0,))[0] if bids else 0, ask,
                        books.get((symbol, 1, ask), (0,))[0] if asks else 0)
    return tops
