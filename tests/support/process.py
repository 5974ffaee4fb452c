"""Starting programs and ending them, by pid, and waiting until they are gone. See also workdir.py.

A child dies with the thread that started it (PR_SET_PDEATHSIG: so start children from the main
thread), writes its output to files (no pipe can fill up and block it), and is always waited for.
spawn() makes the test a subreaper, so that a grandchild whose parent died can be waited for too.
"""
import ctypes
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import workdir

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def program(name):
    """The path of one of our programs: in BATON_BIN, else in build/release/bin of the source tree."""
    folder = os.environ.get("BATON_BIN") or str(workdir.SOURCE / "build" / "release" / "bin")
    return os.path.join(folder, name)


def _die_with_parent(parent):
    def prepare():
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the prctl
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
    return prepare


def _environment(extra):
    return {**os.environ, **{name: str(value) for name, value in (extra or {}).items()}}


class Process:
    """A running program. stdout and stderr go to files; read them with out() and err()."""

    def __init__(self, popen, stdout_path, stderr_path):
        self.popen = popen
        self.pid = popen.pid
        self.stdout_path = pathlib.Path(stdout_path)
        self.stderr_path = pathlib.Path(stderr_path)

    def out(self):
        return self.stdout_path.read_text(errors="replace")

    def err(self):
        return self.stderr_path.read_text(errors="replace")

    def running(self):
        return self.popen.poll() is None

    def send(self, number):
        """Send a signal, unless the process has already been waited for (its pid may be another's by now)."""
        self.popen.send_signal(number)

    def wait(self, timeout=None):
        """Wait for the end and return the exit status (negative: the signal). Fails the test on a hang."""
        try:
            return self.popen.wait(workdir.DEADLINE_S if timeout is None else timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.popen.args[0]} (pid {self.pid}) still runs; its stderr:\n"
                                 + self.err()[-4000:]) from None

    def kill(self):
        """SIGKILL, then wait until it is gone."""
        self.send(signal.SIGKILL)
        return self.wait()

    def terminate(self, timeout=None):
        """SIGTERM, then wait for the program's own end."""
        self.send(signal.SIGTERM)
        return self.wait(timeout)

    def wait_for(self, text, stream="stdout", timeout=None):
        """Wait until the output holds text, and fail at once if the program ends without it."""
        path = self.stdout_path if stream == "stdout" else self.stderr_path

        def seen():
            ended = not self.running()  # asked first: what it wrote before its end must be seen
            content = path.read_text(errors="replace")
            if text in content:
                return content
            if ended:
                raise AssertionError(f"{self.popen.args[0]} ended with {self.popen.returncode} before "
                                     f"it printed {text!r}; its stderr:\n{self.err()[-4000:]}")
            return None
        return workdir.wait_until(seen, f"{text!r} from {self.popen.args[0]}", timeout)

    def end(self):
        """For clean-up: whatever its state, afterwards it is gone and so are its children."""
        children = descendants(self.pid) if self.running() else []
        if self.running():
            self.popen.kill()
        if self.popen.stdin:
            try:
                self.popen.stdin.close()
            except OSError:
                pass
        self.popen.wait()
        for pid, started in children:
            end_pid(pid, started)


def spawn(*arguments, cwd=None, env=None, stdin=subprocess.DEVNULL, stdout=None, stderr=None,
          logs=None, pass_fds=()):
    """Start a program and return a Process; its owner calls end(). TestCase.spawn() does both.

    stdin may be subprocess.PIPE (then .popen.stdin), env adds to ours, stdout and stderr may name
    files; else they go to new files in the folder `logs` (default: the temporary root).
    """
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    paths = []
    for given, name in ((stdout, "stdout"), (stderr, "stderr")):
        if given is None:
            prefix = f"{os.path.basename(str(arguments[0]))}.{name}."
            fd, given = tempfile.mkstemp(prefix=prefix, dir=logs or workdir.temp_root())
            os.close(fd)
        paths.append(str(given))
    with open(paths[0], "ab") as out, open(paths[1], "ab") as err:
        popen = subprocess.Popen([str(a) for a in arguments], cwd=cwd, env=_environment(env),
                                 stdin=stdin, stdout=out, stderr=err, pass_fds=pass_fds,
                                 preexec_fn=_die_with_parent(os.getpid()))
    return Process(popen, *paths)


class Result:
    def __init__(self, status, stdout, stderr, arguments):
        self.status, self.stdout, self.stderr, self.arguments = status, stdout, stderr, arguments

    def json(self):
        return json.loads(self.stdout)

    def json_lines(self):
        return [json.loads(line) for line in self.stdout.splitlines() if line.strip()]

    def __repr__(self):
        return (f"{' '.join(self.arguments)}\nexit {self.status}\nstdout: {self.stdout[-3000:]}\n"
                f"stderr: {self.stderr[-3000:]}")


def _what_it_does(pid):
    """Of each thread its state, and where in the kernel it waits: a loop and a lost wake-up look different."""
    seen = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        try:
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            seen.append(f"{(task / 'comm').read_text().strip()} {state} {(task / 'wchan').read_text()}")
        except OSError:
            continue
    return ", ".join(seen)


def run(*arguments, input=None, cwd=None, env=None, timeout=None, check=None):
    """Run a program to its end. Text in and out. With check=N another exit status fails the test."""
    arguments = [str(a) for a in arguments]
    limit = workdir.DEADLINE_S if timeout is None else timeout
    popen = subprocess.Popen(arguments, cwd=cwd, text=True, errors="replace",
                             stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=_environment(env),
                             preexec_fn=_die_with_parent(os.getpid()))
    try:
        stdout, stderr = popen.communicate(input, limit)
    except subprocess.TimeoutExpired:
        doing = _what_it_does(popen.pid)
        popen.kill()
        stdout, stderr = popen.communicate()
        raise AssertionError(f"{' '.join(arguments)}: still running after {limit:.0f} s: {doing}\n"
                             + stderr[-4000:]) from None
    result = Result(popen.returncode, stdout, stderr, arguments)
    if check is not None and result.status != check:
        raise AssertionError(f"expected exit {check}: {result!r}")
    return result


def start_time(pid):
    """When a process started: with its pid that names it for ever. None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return int(fields[19]) if fields[0] not in (b"Z", b"X") else None
    except (OSError, IndexError):
        return None


def about(path, but):
    """Command lines of living processes that name this path, those that name `but` aside."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(path) in command and but not in command:
            found.append(command)
    return found


def descendants(pid):
    """(pid, start time) of all living descendants, as seen now."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in file.read().split():
                    started = start_time(int(child))
                    if started is not None:
                        found.append((int(child), started))
                    found.extend(descendants(int(child)))
    except OSError:
        pass
    return found


def end_pid(pid, started):
    """SIGKILL a process that is not our direct child; wait until it is gone, reap it if it became ours."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if start_time(pid) == started:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        end = time.monotonic() + workdir.DEADLINE_S
        while start_time(pid) == started and time.monotonic() < end:
            time.sleep(0.01)
        try:
            os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            pass
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
