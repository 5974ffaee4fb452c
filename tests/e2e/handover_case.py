"""What the tests of a handover share: two directories, an instance in each, and what both say.

The toy ends or stands still at a step of a handover when TOY_DIE_IN or TOY_STOP_IN names it."""
import pathlib

from cli_case import TOY, TOY_NEXT, ServiceCase, process
from workdir import wait_until

ENGINE_OLD, ENGINE_NEW, LOAD = map(process.program, ("matching-engine-1.0.0", "matching-engine-1.1.0", "exchange-load"))


def stopped(child):
    stat = pathlib.Path(f"/proc/{child.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


class HandoverCase(ServiceCase):
    """Two directories, self.data of the first active, self.other of its standby."""

    def setUp(self):
        super().setUp()
        self.other = self.root / "other"

    def run_program(self, program, directory, *options, standby_of=None, env=None):
        follow = ("--standby-of", standby_of) if standby_of else ()
        child = self.spawn(program, "run", "--dir", directory, *follow, *options, env=env or {})
        child.directory = directory
        return child

    def run_toy(self, directory, *options, program=TOY, **how):
        return self.run_program(program, directory, "--listen", self.listen, *options, **how)

    def standby(self, directory=None, of=None, *options, program=TOY_NEXT, env=None):
        """Started, and level with the active."""
        child = self.run_toy(directory or self.other, *options, program=program, standby_of=of or self.data, env=env)
        self.wait_level(child, of or self.data)
        return child

    def status_of(self, directory):
        result = self.service("status", "-o", "json", where=str(directory))
        return result.json() if result.status == 0 else None

    def wait_phase(self, child, phase):
        def there():
            if not child.running():
                raise AssertionError(f"it ended with {child.popen.returncode}:\n{child.err()}")
            status = self.status_of(child.directory)
            return status if status and status["phase"] == phase else None
        return wait_until(there, f"phase {phase} of {child.directory}")

    def wait_running(self, child):
        self.wait_phase(child, "running")
        return child

    def wait_level(self, child, of):
        def level():
            if not child.running():
                raise AssertionError(f"it ended with {child.popen.returncode}:\n{child.err()}")
            here, there = self.status_of(child.directory), self.status_of(of)
            return here and there and here["phase"] == "following" and here["follow"]["connected"] \
                and here["durable_seq"] == there["durable_seq"] and any(
                    f["nonce"] == here["instance"]["nonce"] and f["following"] for f in there["followers"])
        wait_until(level, f"{child.directory} to be level with {of}")

    def wait_followed(self, active):
        """It serves, and the other one has all that is durable there."""
        def followed():
            status = self.status_of(active)
            return status and status["phase"] == "running" and any(
                f["following"] and f["durable_seq"] == status["durable_seq"] for f in status["followers"])
        wait_until(followed, f"the other one to follow {active}")

    def wait_stopped(self, child):
        wait_until(lambda: stopped(child), f"the one in {child.directory} to stand still")

    def start_two(self, old_env=None, new_env=None, *old_options):
        """self.old serves in self.data and has one entry, self.new is level."""
        self.old = self.run_toy(self.data, *old_options, env=old_env)
        self.wait_phase(self.old, "running")
        self.client().add(1, 1)
        self.new = self.standby(env=new_env)

    def ask_handover(self, directory, *options):
        """The command, while it waits for its answer."""
        return self.spawn(process.program("baton"), "service", "handover", str(directory), *options)

    def handover(self, directory, *options, check=None):
        return self.service("handover", "-o", "json", *options, where=str(directory), check=check)

    def handover_under_load(self, directory):
        """A busy machine: a standby that is too far behind the load for this try is asked again when it has come nearer."""
        def done():
            answer = self.handover(directory, "--wait", "--max-gap", "10s")
            if answer.status and "ms passed in step" not in answer.stderr:
                raise AssertionError(f"the handover of {directory} was refused: {answer!r}")
            return answer if answer.status == 0 else None
        return wait_until(done, f"a handover of {directory} that is not too late").json()["handover"]

    def assert_one_journal(self, *directories):
        """One writer for each seq, whichever is named first."""
        self.baton("journal", "verify", *directories, check=0)
        self.baton("journal", "verify", *reversed(directories), check=0)
