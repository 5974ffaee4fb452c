"""The helpers that other tests rely on (tests/support) do what they say."""
import io
import os
import pathlib
import socket
import subprocess
import sys
import unittest

import process
from network import Forwarder, Listener, first_of, listen_unix
from workdir import TestCase, free_port, main, wait_until

FAMILY = r"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, 1); print(1); time.sleep(900)"])
print(child.pid, flush=True)
child.wait()
"""


class Processes(TestCase):
    def test_end_leaves_no_grandchild(self):
        child = self.spawn(sys.executable, "-c", FAMILY)
        content = child.wait_for("\n")
        grandchild = int(content.split()[0])
        self.assertIsNotNone(process.start_time(grandchild))
        child.end()
        self.assertFalse(child.running())
        self.assertIsNone(process.start_time(grandchild))

    def test_a_child_dies_with_the_test_that_started_it(self):
        script = ("import process, sys, os; p = process.spawn(sys.executable, '-c', 'import time; time.sleep(900)', "
                  "logs=sys.argv[1]); print(p.pid, flush=True); os._exit(0)")
        started = process.run(sys.executable, "-c", script, self.workdir(), check=0,
                              env={"PYTHONPATH": pathlib.Path(process.__file__).parent})
        wait_until(lambda: process.start_time(int(started.stdout)) is None, "the orphan's end")

    def test_run_fails_on_another_exit_status_and_on_a_hang(self):
        with self.assertRaisesRegex(AssertionError, "expected exit 0"):
            process.run(sys.executable, "-c", "raise SystemExit(3)", check=0)
        with self.assertRaisesRegex(AssertionError, "still running"):
            process.run(sys.executable, "-c", "import time; time.sleep(900)", timeout=0.2)

    def test_waiting_for_output_fails_at_once_when_the_program_ends_without_it(self):
        child = self.spawn(sys.executable, "-c", "import sys; sys.exit('no such thing')")
        with self.assertRaisesRegex(AssertionError, "no such thing"):
            child.wait_for("ready", timeout=600)

    def test_large_output_does_not_block_a_program(self):
        child = self.spawn(sys.executable, "-c", "print('x' * 4000000)")
        self.assertEqual(child.wait(), 0)
        self.assertEqual(len(child.out()), 4000001)


class Places(TestCase):
    def test_a_socket_path_is_short_enough(self):
        self.assertLess(len(os.fsencode(self.socket_path("control.sock"))), 64)

    def test_a_free_port_is_a_port(self):
        self.assertIn(free_port(), range(1024, 65536))

    def test_a_work_directory_is_kept_on_failure_and_removed_otherwise(self):
        kept = {}

        class Inner(TestCase):
            def test_passes(self):
                kept["passes"] = self.workdir()
                (kept["passes"] / "locked").mkdir(mode=0o500)

            def test_fails(self):
                kept["fails"] = self.workdir()
                self.fail("on purpose")

        suite = unittest.TestSuite([Inner("test_passes"), Inner("test_fails")])
        stderr, sys.stderr = sys.stderr, io.StringIO()
        try:
            unittest.TextTestRunner(stream=io.StringIO()).run(suite)
        finally:
            sys.stderr = stderr
        self.assertFalse(kept["passes"].exists())
        self.assertTrue(kept["fails"].exists())
        kept["fails"].rmdir()

    def test_a_file_whose_tests_are_all_skipped_exits_77(self):
        script = ("import unittest\nfrom workdir import TestCase, main\nclass T(TestCase):\n"
                  "    def test_x(self): self.skipTest('no data here')\nmain()\n")
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False,
                              env={**os.environ, "PYTHONPATH": str(pathlib.Path(process.__file__).parent)})
        self.assertEqual(done.returncode, 77)
        self.assertIn("no data here", done.stdout)


class Network(TestCase):
    def echo(self):
        """The path of a socket that says everything again."""
        def talk(connection):
            while data := connection.recv(4096):
                connection.sendall(data)
        path = self.socket_path("echo")
        self.addCleanup(Listener(listen_unix(path), talk).close)
        return path

    def connect(self, net):
        end = socket.create_connection(("127.0.0.1", net.port), 60)
        self.addCleanup(end.close)
        return end

    def assert_echoes(self, end, text):
        end.sendall(text)
        got = b""
        while len(got) < len(text):  # with a timeout a socket does not block: MSG_WAITALL may come back with less
            part = end.recv(len(text) - len(got))
            self.assertTrue(part, "the connection ended")
            got += part
        self.assertEqual(got, text)

    def test_a_forwarder_carries_both_ways_until_it_is_cut_and_again_when_it_heals(self):
        net = Forwarder(first_of(self.socket_path("nobody"), self.echo()))
        self.addCleanup(net.close)
        end = self.connect(net)
        self.assert_echoes(end, b"to and fro" * 1000)
        net.cut()
        self.assertEqual(end.recv(1), b"")
        self.assertEqual(self.connect(net).recv(1), b"")
        net.heal()
        self.assert_echoes(self.connect(net), b"again")

    def test_nobody_behind_a_forwarder_is_a_hang_up(self):
        net = Forwarder(first_of(self.socket_path("nobody")))
        self.addCleanup(net.close)
        self.assertEqual(self.connect(net).recv(1), b"")

    def test_a_listener_that_closes_hangs_up_on_all(self):
        path = self.socket_path("silent")
        silent = Listener(listen_unix(path), lambda connection: connection.recv(1))
        ends = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2)]
        for end in ends:
            self.addCleanup(end.close)
            end.settimeout(60)
            end.connect(path)
        wait_until(lambda: len(silent.connections) == 2, "both to be accepted")
        silent.close()
        for end in ends:
            self.assertEqual(end.recv(1), b"")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as late, self.assertRaises(ConnectionRefusedError):
            late.connect(path)


if __name__ == "__main__":
    main()
