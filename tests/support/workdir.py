"""Where a test works and how it ends. See also process.py.

    from workdir import TestCase, main, wait_until

    class Cut(TestCase):
        def test_nothing_acknowledged_is_lost(self):
            directory = self.workdir()          # removed at the end, kept when the test fails
            socket_path = self.socket_path("s") # short enough for sockaddr_un
            ...
    if __name__ == "__main__":
        main()
"""
import os
import pathlib
import random
import shutil
import socket
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ.get("BATON_SOURCE") or pathlib.Path(__file__).parents[2]).resolve()
SANITIZE = os.environ.get("BATON_SANITIZE", "")

# A generous bound on a hang, never a race: a loaded machine under a sanitizer is slow.
DEADLINE_S = 60.0 if not SANITIZE else 180.0


def temp_root():
    """A directory on a real file system, inside the build tree when run by ctest."""
    root = os.environ.get("BATON_TEST_TMP") or os.environ.get("TMPDIR") or tempfile.gettempdir()
    os.makedirs(root, exist_ok=True)
    return root


def data_dir():
    """The recorded order flow (BATON_DATA, else ../shared/data beside the source tree), or None."""
    candidate = pathlib.Path(os.environ.get("BATON_DATA") or SOURCE.parent / "shared" / "data")
    return candidate if candidate.is_dir() else None


def seed():
    """One seed a run: BATON_SEED, or a new one. Printed, so that a failing run can be repeated."""
    value = int(os.environ.get("BATON_SEED") or random.SystemRandom().randrange(1, 1 << 32))
    print(f"seed: BATON_SEED={value}", flush=True)
    return value


def wait_until(predicate, what="the condition", timeout=None, interval=0.01):
    """Poll until predicate() is true and return what it returned. The timeout only bounds a hang."""
    limit = DEADLINE_S if timeout is None else timeout
    end = time.monotonic() + limit
    while True:
        result = predicate()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit:.0f} s for {what}")
        time.sleep(interval)


def free_port():
    """A loopback port that was free a moment ago. Prefer port 0 where the program reports its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect_unix(caller, path):
    """caller.connect(path), however long the path is: sockaddr_un takes 107 bytes, a checkout may be deeper."""
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    try:
        caller.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    finally:
        os.close(folder)


class TestCase(unittest.TestCase):
    """unittest with directories that go away, unless the test failed, and processes that are ended first."""

    maxDiff = 4000

    def workdir(self, name=None):
        prefix = f"{name or self._testMethodName[:40]}."
        path = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=temp_root()))
        self.addCleanup(self._remove, path)
        return path

    def socket_path(self, name="control"):
        """A path for a Unix socket. sun_path holds 108 bytes, and a build tree can be deep: so in /tmp."""
        directory = tempfile.mkdtemp(prefix="baton.", dir="/tmp")
        self.addCleanup(shutil.rmtree, directory, True)
        return os.path.join(directory, name)

    def spawn(self, *arguments, **options):
        """process.spawn() whose process is ended at the end of the test. Call workdir() first."""
        import process
        if "logs" not in options:
            if not getattr(self, "_logs", None):
                self._logs = self.workdir("logs")
            options["logs"] = self._logs
        child = process.spawn(*arguments, **options)
        self.addCleanup(child.end)
        return child

    def wait_until(self, predicate, what="the condition", timeout=None):
        return wait_until(predicate, what, timeout)

    def _failed(self):
        outcome = getattr(self, "_outcome", None)
        result = getattr(outcome, "result", None)
        if result is None:
            return False
        if not getattr(outcome, "success", True):
            return True
        return any(case is self for case, _ in result.errors + result.failures)

    def _remove(self, path):
        if self._failed() or os.environ.get("BATON_TEST_KEEP"):
            print(f"kept: {path}", file=sys.stderr, flush=True)
        else:
            make_writable(path)
            shutil.rmtree(path, ignore_errors=True)


def make_writable(path):
    """A test may leave read-only directories behind."""
    for folder, folders, _ in os.walk(path):
        for name in folders:
            full = os.path.join(folder, name)
            if not os.path.islink(full):
                os.chmod(full, 0o700)


def main():
    """unittest.main() that exits 77 when every test was skipped, which ctest counts as a skip."""
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    if result.wasSuccessful() and result.testsRun and len(result.skipped) == result.testsRun:
        print("skipped: " + "; ".join(sorted({reason for _, reason in result.skipped})), flush=True)
        sys.exit(77)
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)
