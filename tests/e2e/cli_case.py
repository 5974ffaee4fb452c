"""What the tests of the `baton` command and of the doors share. See tests/support/{workdir,process}.py."""
import ctypes
import hashlib
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess

import process
from workdir import TestCase, wait_until

BATON = process.program("baton")
BACKENDS = ("uring", "threads")
BLOCK = 4096


def test_program(name):
    """A program built for the tests only."""
    folder = os.environ.get("BATON_BUILD") or str(pathlib.Path(process.program("x")).parents[1])
    return os.path.join(folder, "tests", name)


TOY = test_program("toy-1.0.0")
TOY_NEXT = test_program("toy-1.1.0")
COUNTER = test_program("counter")


def tree_digest(directory):
    """Names and bytes of everything in a directory: equal means that nothing was changed.

    HINT is left out: a page for readers, which holds nothing, and which who gets the lock takes over.
    """
    found = {}
    for path in sorted(pathlib.Path(directory).rglob("*")):
        if path.is_file() and path.name != "HINT":
            found[str(path.relative_to(directory))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def segments(journal):
    return sorted(pathlib.Path(journal).glob("*.seg"))


def last_block(path):
    """Index of the last 4 KiB block of a segment, its reserved last unit aside, that is not all zero."""
    data = pathlib.Path(path).read_bytes()
    for index in range(len(data) // BLOCK - 2, -1, -1):
        if any(data[index * BLOCK:(index + 1) * BLOCK]):
            return index
    return -1


def overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


def uring_works(directory):
    """Does this machine let us use io_uring? A container often does not."""
    probe = os.path.join(directory, "probe-uring")
    result = process.run(BATON, "journal", "append", "--io", "uring", probe, input="")
    shutil.rmtree(probe, ignore_errors=True)
    return result.status == 0


def private_mounts_work():
    """May we make a mount namespace of our own and mount in it?"""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    done = subprocess.run(["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def deny_io_uring():
    """For a child: seccomp that answers io_uring_setup with ENOSYS, as a container's default profile does."""
    class Filter(ctypes.Structure):
        _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte),
                    ("k", ctypes.c_uint)]

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Filter))]

    libc = ctypes.CDLL(None, use_errno=True)
    steps = (Filter * 4)(
        Filter(0x20, 0, 0, 0),            # load the number of the system call
        Filter(0x15, 0, 1, 425),          # io_uring_setup, on every architecture
        Filter(0x06, 0, 0, 0x00050000 | 38),  # errno ENOSYS
        Filter(0x06, 0, 0, 0x7FFF0000))   # allow
    program = Program(4, steps)
    if libc.prctl(38, 1, 0, 0, 0) != 0:   # PR_SET_NO_NEW_PRIVS
        os._exit(99)
    if libc.prctl(22, 2, ctypes.byref(program)) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        os._exit(99)


class CliCase(TestCase):
    def baton(self, *arguments, check=None, **options):
        return process.run(BATON, *arguments, check=check, **options)

    def append(self, journal, lines, *options, check=0):
        text = "".join(f"{line}\n" for line in lines)
        return self.baton("journal", "append", *options, journal, input=text, check=check)

    def payloads(self, journal, *options):
        return [entry.get("payload") for entry in
                self.baton("journal", "dump", *options, journal, check=0).json_lines()]

    def assert_refused(self, result, status, *words):
        """An error as a person wants it: the exit code, one line `baton: what: why: what to do`, the words in it."""
        self.assertEqual(result.status, status, result)
        lines = [line for line in result.stderr.splitlines() if line.startswith("baton: ")]
        self.assertTrue(lines, result)
        self.assertGreaterEqual(lines[-1].count(": "), 2, result)
        for word in words:
            self.assertIn(word, lines[-1], result)


class ToyClient:
    """A connection to the toy service: one message, one answer."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(path)

    def send(self, key, delta, word=""):
        self.socket.send(f"{word}{key} {delta}".encode())

    def receive(self, timeout=60.0):
        """An answer, or None when the service hung up."""
        readable, _, _ = select.select([self.socket], [], [], timeout)
        if not readable:
            raise AssertionError("no answer from the toy service")
        try:
            return self.socket.recv(256).decode() or None
        except ConnectionResetError:
            return None

    def add(self, key, delta, word=""):
        self.send(key, delta, word)
        return self.receive()

    def close(self):
        self.socket.close()


class ServiceCase(CliCase):
    """Starts toy services: self.data is the directory, self.listen where clients connect."""

    def setUp(self):
        self.root = self.workdir()
        self.data = self.root / "data"
        self.listen = self.socket_path("clients")
        self.control = str(self.data / "control.sock")

    def start(self, *options, program=TOY, ready=True):
        reader, writer = os.pipe()
        try:
            child = self.spawn(program, "run", "--dir", self.data, "--listen", self.listen,
                               "--ready-fd", writer, *options, pass_fds=(writer,))
        finally:
            os.close(writer)
        self.addCleanup(os.close, reader)
        child.ready_fd = reader
        if ready:
            child.ready = self.read_line_json(reader, child)
        return child

    def read_line_json(self, fd, child):
        """One JSON line; the program's end without one fails the test and shows its stderr."""
        import json
        text = b""
        while not text.endswith(b"\n"):
            readable, _, _ = select.select([fd], [], [], 180)
            part = os.read(fd, 65536) if readable else b""
            if not part:
                child.wait()
                raise AssertionError(f"no line; exit {child.popen.returncode}; stderr:\n{child.err()}")
            text += part
        return json.loads(text)

    def client(self):
        client = ToyClient(self.listen)
        self.addCleanup(client.close)
        return client

    def door(self, *arguments, program=TOY, check=None):
        return process.run(program, "baton", *arguments, check=check)

    def service(self, word, *options, check=None, where=None):
        return self.baton("service", word, where or self.control, *options, check=check)

    def status(self):
        return self.service("status", "-o", "json", check=0).json()


__all__ = ["BACKENDS", "BATON", "BLOCK", "COUNTER", "TOY", "TOY_NEXT", "CliCase", "ServiceCase", "ToyClient",
           "deny_io_uring", "flip", "last_block", "overwrite", "private_mounts_work", "process", "segments",
           "signal", "tree_digest", "uring_works", "wait_until"]
