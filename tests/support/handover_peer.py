"""The handover protocol (docs/format/handover.md) for tests: a standby, or an active, that says exactly what it is told to.

    peer = Peer.connect(directory / "handover.sock")
    peer.say(HELLO, hello(service="toy"))
    peer.hear().type == WELCOME
"""
import os
import socket
import struct
import sys
import threading

import workdir
from network import Listener, hang_up, listen_unix

sys.path.insert(0, str(workdir.SOURCE / "tools"))
from xxh3 import xxh3_128  # noqa: E402

(HELLO, WELCOME, REFUSE, FETCH, SNAPSHOT, PIECE, FOLLOW, START, BATCH, ACK, PREPARE, READY, FINAL, ANSWER, GRANT, TAKEN,
 ABORT, AUTHORITY) = range(1, 19)
NAMES = dict(zip(range(1, 19), "HELLO WELCOME REFUSE FETCH SNAPSHOT PIECE FOLLOW START BATCH ACK PREPARE READY FINAL ANSWER "
                               "GRANT TAKEN ABORT AUTHORITY".split()))
HEADER = struct.Struct("<8sHHIQQ16s16s16sI12s16s")
HELLO_BODY = struct.Struct("<II32s32s256s64sIIQ24sQIIIIII16s512s136s")
REFUSAL = struct.Struct("<I4x256s256s")
POSITION = struct.Struct("<QQQ")
NOBODY = bytes(16)
DESCRIPTORS_MAX = 253  # what Linux passes at once


def text_of(field):
    return field.split(b"\0")[0].decode(errors="replace")


class Message:
    def __init__(self, header, body, fds=()):
        (self.magic, self.version, self.type, self.body_bytes, self.try_number, self.epoch, self.journal_id, self.nonce,
         self.to, self.descriptors, _, self.digest) = HEADER.unpack(header)
        self.header, self.body, self.fds = header, body, list(fds)

    def why(self):
        """What a refusal says."""
        return text_of(REFUSAL.unpack(self.body)[1])

    def hello(self):
        return Hello(self.body)

    def __repr__(self):
        told = f": {self.why()}" if self.type in (REFUSE, ABORT) and len(self.body) == REFUSAL.size else ""
        return f"<{NAMES.get(self.type, self.type)} try {self.try_number} epoch {self.epoch}{told}>"


class Hello:
    """The body of HELLO and WELCOME; fields may be changed, then bytes() gives it anew."""

    def __init__(self, body=None, **fields):
        if body is not None:
            (self.protocol_lowest, self.protocol_highest, service, version, directory, address, self.schema_write,
             self.schema_read_min, self.highest_name, self.durable, self.applied_seq, self.is_active, self.schema_pinned,
             self.schema_finalized, self.journal_format, self.batch_bytes_max, count, self.layout,
             types, self.at) = HELLO_BODY.unpack(body[:HELLO_BODY.size])
            self.service, self.version, self.directory = text_of(service), text_of(version), text_of(directory)
            self.address = text_of(address)
            self.entry_types = [struct.unpack_from("<HxxI", types, 8 * n) for n in range(min(count, 64))]
            self.more = body[HELLO_BODY.size:]
        else:
            self.protocol_lowest = self.protocol_highest = 1
            self.service, self.version, self.directory, self.address = "toy", "1.0.0", "/nowhere", ""
            self.schema_write = self.schema_read_min = self.schema_pinned = 1
            self.highest_name = self.applied_seq = self.is_active = self.schema_finalized = 0
            self.durable, self.layout, self.at, self.more = bytes(24), NOBODY, bytes(136), b""
            self.journal_format, self.batch_bytes_max = 1, 1 << 20
            self.entry_types = [(1, 1)]
        self.entry_types_count = len(self.entry_types)
        for name, value in fields.items():
            setattr(self, name, value)
            if name == "entry_types":
                self.entry_types_count = len(value)

    def __bytes__(self):
        types = b"".join(struct.pack("<HxxI", *one) for one in self.entry_types)
        return HELLO_BODY.pack(self.protocol_lowest, self.protocol_highest, self.service.encode(), self.version.encode(),
                               self.directory.encode(), self.address.encode(), self.schema_write, self.schema_read_min, self.highest_name,
                               self.durable, self.applied_seq, self.is_active, self.schema_pinned, self.schema_finalized,
                               self.journal_format, self.batch_bytes_max, self.entry_types_count, self.layout,
                               types, self.at) + self.more


def refusal(why, status=20000 - 1, todo=""):
    return REFUSAL.pack(status, why.encode(), todo.encode())


def position(epoch=0, batch=0, seq=0):
    return POSITION.pack(epoch, batch, seq)


def follow_body(after=bytes(24), digest=NOBODY, from_seq=1):
    return after + digest + struct.pack("<Q", from_seq)


class Peer:
    """One end of a connection."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.settimeout(2 * workdir.DEADLINE_S)
        self.nonce, self.to = os.urandom(16), NOBODY
        self.journal_id, self.epoch = NOBODY, 0
        self.input, self.fds = b"", []

    @classmethod
    def connect(cls, path):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        workdir.connect_unix(connection, str(path))
        return cls(connection)

    def message(self, kind, body=b"", try_number=0, *, magic=b"BATONHND", version=1, body_bytes=None, descriptors=0,
                zero=bytes(12), nonce=None, to=None, epoch=None, journal_id=None, digest=None):
        body = bytes(body)
        front = HEADER.pack(magic, version, kind, len(body) if body_bytes is None else body_bytes, try_number,
                            self.epoch if epoch is None else epoch, self.journal_id if journal_id is None else journal_id,
                            nonce or self.nonce, self.to if to is None else to, descriptors, zero, NOBODY)[:96]
        return front + (xxh3_128(front + body) if digest is None else digest) + body

    def say(self, kind, body=b"", try_number=0, fds=(), **other):
        data = self.message(kind, body, try_number, **other)
        if fds:
            sent = socket.send_fds(self.socket, [data], list(fds))
            data = data[sent:]
        if data:
            self.socket.sendall(data)

    def fill(self, size):
        while len(self.input) < size:
            try:
                part, fds, _, _ = socket.recv_fds(self.socket, 1 << 20, DESCRIPTORS_MAX)
            except ConnectionResetError:
                part, fds = b"", []
            self.fds += fds
            if not part:
                return False
            self.input += part
        return True

    def hear(self):
        """The next message; None at the connection's end."""
        if not self.fill(HEADER.size):
            return None
        size = HEADER.size + struct.unpack_from("<I", self.input, 12)[0]
        if not self.fill(size):
            return None
        taken, self.input = self.input[:size], self.input[size:]
        message = Message(taken[:HEADER.size], taken[HEADER.size:], self.fds if taken[10] == PREPARE else ())
        if message.type == PREPARE:
            self.fds = []
        return message

    def hear_of(self, *kinds):
        """The next one of these types; others are passed over."""
        while True:
            message = self.hear()
            if message is None or message.type in kinds:
                return message

    def refused(self):
        """Why it was; fails when the connection ends without a word."""
        message = self.hear_of(REFUSE)
        assert message is not None, "the connection ended without a refusal"
        assert self.hear() is None, "something came behind the refusal"
        return message.why()

    def greet(self, hello=None, **other):
        """HELLO and its answer: from then on it speaks to that instance."""
        self.say(HELLO, bytes(hello or Hello()), **other)
        answer = self.hear()
        if answer is not None and answer.type == WELCOME:
            self.to, self.journal_id = answer.nonce, answer.journal_id
        return answer

    def follow(self, hello=None):
        answer = self.greet(hello)
        assert answer is not None and answer.type == WELCOME, answer
        self.say(FOLLOW, follow_body())
        return answer

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []
        self.socket.close()


class Active:
    """Listens where an active would; talk(peer) has each connection, on a thread of its own."""

    def __init__(self, case, path, talk):
        def one(connection):
            peer = Peer(connection)
            try:
                talk(peer)
            finally:
                peer.close()
        self.listener = Listener(listen_unix(path), one)
        case.addCleanup(self.close)

    def close(self):
        self.listener.close()


class Relay:
    """Between a standby and its active, message by message: pass_on(from_active, message) says what goes through: a list."""

    def __init__(self, case, path, active, pass_on):
        self.active, self.pass_on = active, pass_on
        self.lock = threading.Lock()
        self.front = Active(case, path, self.talk)
        self.backs = []

    def connect(self):
        return Peer.connect(self.active)

    def talk(self, front):
        back = self.connect()
        self.backs.append(back)
        threading.Thread(target=self.pump, args=(front, back, False), daemon=True).start()
        try:
            self.pump(back, front, True)
        finally:
            back.close()

    def pump(self, source, sink, from_active):
        try:
            while True:
                message = source.hear()
                if message is None:
                    break
                with self.lock:
                    passed = self.pass_on(from_active, message)
                for one in passed:
                    data = one.header + one.body
                    if one.fds:
                        data = data[socket.send_fds(sink.socket, [data], one.fds):]
                        for fd in one.fds:
                            os.close(fd)
                    if data:
                        sink.socket.sendall(data)
        except OSError:
            pass
        hang_up(source.socket, sink.socket)
