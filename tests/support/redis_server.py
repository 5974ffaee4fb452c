"""A redis-server of a test's own: on a Unix socket, in a temporary directory, every answer behind an fsync of its file."""
import os
import shutil
import socket
import sys

import workdir

# Debian's redis-tools, which brings no daemon, has the same program by another name.
PROGRAM = shutil.which("redis-server") or shutil.which("redis-check-rdb")
_BECOME = "import os, sys; os.execv(sys.argv[1], ['redis-server'] + sys.argv[2:])"


class RedisServer:
    """Its directory survives a kill: start() it again and it has what it had answered for."""

    def __init__(self, case):
        if not PROGRAM:
            case.skipTest("no redis-server: apt-get install redis-tools")
        self.case, self.path, self.child = case, case.socket_path("redis"), None
        self.directory = case.workdir("redis")

    @property
    def address(self):
        return f"unix:{self.path}"

    def start(self, *options):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.child = self.case.spawn(sys.executable, "-c", _BECOME, PROGRAM, "--port", 0, "--unixsocket", self.path, "--dir",
                                     self.directory, "--daemonize", "no", "--save", "", "--appendonly", "yes",
                                     "--appendfsync", "always", *options)
        workdir.wait_until(self.answers, "redis-server to answer")

    def answers(self):
        if not self.child.running():
            raise AssertionError(f"redis-server ended with {self.child.popen.returncode}: {self.child.out()}")
        try:
            return self.ask("PING") == "PONG"
        except (OSError, RedisError):  # not there yet, or it still loads
            return False

    def kill(self):
        self.child.kill()

    def ask(self, *words):
        """One command over a connection of its own."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(workdir.DEADLINE_S)
            workdir.connect_unix(line, self.path)
            words = [str(word).encode() for word in words]
            line.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
            with line.makefile("rb") as answer:
                return _read(answer)

    def hash(self, key):
        flat = self.ask("HGETALL", key)
        return dict(zip(flat[::2], flat[1::2]))

    def keys(self, pattern="*"):
        return sorted(self.ask("KEYS", pattern))


class RedisError(Exception):
    """What Redis answers in place of an answer."""


def _read(answer):
    head = answer.readline()
    if not head.endswith(b"\r\n"):
        raise ConnectionResetError("redis-server hung up")
    kind, rest = head[:1], head[1:-2].decode()
    if kind == b"-":
        raise RedisError(rest)
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == "-1" else answer.read(int(rest) + 2)[:-2].decode()
    if kind == b"*":
        return [_read(answer) for _ in range(int(rest))]
    return rest
