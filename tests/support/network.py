"""What stands between the two ends of a test's connections: who listens, and who forwards. See support_test.py.

    Listener(listening_socket, talk)    # talk(connection) on a thread for each; close() hangs up on all
    net = Forwarder(tcp(port))          # 127.0.0.1:net.port leads there
    net.cut()                           # now nowhere, and who was connected is hung up on
    net.heal()
"""
import socket
import threading


def hang_up(*ends):
    """Both directions, whatever state it is in: who waits at one of them is woken."""
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def carry(source, target):
    """All that comes, until either ends; then both are hung up."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    hang_up(source, target)


class Listener:
    """talk(connection) has each connection, on a thread of its own; afterwards the connection is closed."""

    def __init__(self, listener, talk):
        self.listener, self._talk, self.connections = listener, talk, []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        try:
            self._talk(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def close(self):
        hang_up(self.listener)
        self.listener.close()
        hang_up(*self.connections)


def listen_unix(path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(16)
    return listener


def tcp(port):
    return lambda: socket.create_connection(("127.0.0.1", port))


def first_of(*paths):
    """The first of these Unix sockets where somebody listens."""
    def dial():
        for path in paths:
            far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                far.connect(path)
                return far
            except OSError:
                far.close()
        raise ConnectionRefusedError(f"nobody listens at any of {paths}")
    return dial


class Forwarder:
    """A port that leads to where dial() connects, until it is cut; heals."""

    def __init__(self, dial):
        self._dial, self._whole, self._pairs, self._lock = dial, True, [], threading.Lock()
        self._front = Listener(socket.create_server(("127.0.0.1", 0)), self._forward)
        self.port = self._front.listener.getsockname()[1]

    def _forward(self, near):
        with self._lock:
            if not self._whole:
                return
            far = self._dial()
            self._pairs.append((near, far))
        back = threading.Thread(target=carry, args=(far, near), daemon=True)
        back.start()
        carry(near, far)
        back.join()
        far.close()

    def cut(self):
        with self._lock:
            self._whole = False
            for pair in self._pairs:
                hang_up(*pair)
            self._pairs = []

    def heal(self):
        with self._lock:
            self._whole = True

    def close(self):
        self.cut()
        self._front.close()
