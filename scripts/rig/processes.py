"""The processes of a rig: started so that none can be left behind, ended by pid and waited for."""
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


class Failed(Exception):
    """What a rig says when it can't go on; its text is for the user."""


def _prepare_child(parent):
    def prepare():
        # Whatever becomes of the rig, the child does not outlive it.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    return prepare


class Processes:
    """All children of a rig. Use as a context: at its end every one is gone."""

    def __init__(self):
        self._children = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end_all()

    def start(self, arguments, stdout, stderr, pass_fds=()):
        """stdout and stderr: paths, or file objects. A signal can't come between the fork and our knowing of it."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            with _open(stdout) as out, _open(stderr) as err:
                child = subprocess.Popen([str(a) for a in arguments], stdin=subprocess.DEVNULL, stdout=out,
                                         stderr=err, pass_fds=pass_fds, start_new_session=True,
                                         preexec_fn=_prepare_child(os.getpid()))
            self._children.append(child)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child

    def end_all(self):
        """Not disturbed by a second signal: a half-done clean-up is none."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            for child in self._children:
                if child.poll() is None:
                    child.kill()
            for child in self._children:
                child.wait()
            self._children.clear()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _open:
    """A path is opened for appending; a file object is used as it is."""

    def __init__(self, target):
        self._own = None
        self._target = target

    def __enter__(self):
        if isinstance(self._target, (str, os.PathLike)):
            self._own = open(self._target, "ab")
        return self._own or self._target

    def __exit__(self, *_):
        if self._own:
            self._own.close()


def ask_control(path, pid, word, timeout_s, **fields):
    """The answer of a service to a control word; None when that process does not answer (yet, or no more). TimeoutError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(timeout_s)
            control.connect(str(path))
            control.sendall(json.dumps({"baton": 1, "do": word, **fields}).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                part = control.recv(65536)
                if not part:
                    return None
                answer += part
    except TimeoutError:
        raise
    except OSError:
        return None
    answer = json.loads(answer)
    return answer if answer["instance"]["pid"] == pid else None


class Engine:
    """A running matching engine. Times are CLOCK_MONOTONIC, in nanoseconds."""

    def __init__(self, processes, program, directory, sockets, log, options=(), wait=True):
        """With wait=False it may still be hydrating: only kill() and wait_ready() are useful then."""
        self.log = log
        self.control = f"{sockets}/control"
        self.listen = f"unix:{sockets}/orders"
        self.started_ns = time.monotonic_ns()
        self._ready, ready_writer = os.pipe()
        try:
            self.child = processes.start(
                [program, "run", "--dir", directory, "--listen", self.listen, "--control", self.control,
                 "--ready-fd", ready_writer, *options],
                stdout=log, stderr=log, pass_fds=(ready_writer,))
        except BaseException:
            os.close(self._ready)
            raise
        finally:
            os.close(ready_writer)
        if wait:
            self.wait_ready()

    def wait_ready(self):
        try:
            self.ready = self._read_ready(self._ready)
        finally:
            self._close_ready()
        self.ready_ns = time.monotonic_ns()

    def _close_ready(self):
        if self._ready is not None:
            os.close(self._ready)
        self._ready = None

    def _read_ready(self, fd):
        text = b""
        while not text.endswith(b"\n"):
            if not select.select([fd], [], [], 120)[0]:
                raise Failed(f"start an engine: not ready after 120 s: see {self.log}")
            part = os.read(fd, 65536)
            if not part:
                raise Failed(f"start an engine: it ended with {self.child.wait()}: see {self.log}")
            text += part
        return json.loads(text)

    def status(self):
        """What the engine says of itself over its control socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(60)
            control.connect(self.control)
            control.sendall(b'{"baton":1,"do":"status"}\n')
            answer = b""
            while not answer.endswith(b"\n"):
                part = control.recv(65536)
                if not part:
                    raise Failed(f"ask the engine for its status: it hung up: see {self.log}")
                answer += part
        return json.loads(answer)

    def seq(self):
        """The last applied seq."""
        return self.status()["seq"]

    def kill(self):
        """SIGKILL, in whatever it does; returns when it is gone."""
        self._close_ready()
        self.child.kill()
        self.child.wait()

    def terminate(self):
        """SIGTERM, then wait for the drain. Returns (when asked, when gone)."""
        asked_ns = time.monotonic_ns()
        self.child.send_signal(signal.SIGTERM)
        code = self.child.wait()
        if code != 0:
            raise Failed(f"drain the engine: it ended with {code}: see {self.log}")
        return asked_ns, time.monotonic_ns()


def run_rig(what, rig):
    """rig() until it ends or a signal does: its exit code, or 1 with what went wrong told. For sys.exit."""
    for number in _ENDING:
        signal.signal(number, lambda signum, frame: sys.exit(128 + signum))
    try:
        return rig()
    except Failed as failure:
        print(f"baton: {failure}", file=sys.stderr)
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as failure:
        print(f"baton: {what}: {failure}: see the files it kept", file=sys.stderr)
    return 1
