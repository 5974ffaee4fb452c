"""The whole exchange as real processes in one directory: started so that each is ready, killed, started again, replaced by
a standby, and ended in order. Judged by exchange_judge.py.

    with Processes() as processes, Exchange(processes, bin_dir, directory) as exchange:
        exchange.start()
        exchange.deposit({client: {1: 10**9, 2: 10**15} for client in range(1, 65)})
        load = exchange.load("load", ["--orders", 5000, "--rate", 2500])
        exchange.service("risk-engine").kill()
        exchange.service("risk-engine").start()
        load.finish()
        exchange.settle()
        exchange.stop()

Addresses: exchange.path("gateway") and exchange.path("http") of the first gateway ("gateway.2", ... of more), "orders" of
the order service itself, "accounts" of the risk engine, "market" of market data (by multicast: exchange.group)."""
import http.client
import json
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from exchange_wire import DEPOSIT, DONE, WITHDRAW, Operator, transfer
from processes import Failed, ask_control

POLL_S = 0.005
DEADLINE_S = 120  # only bounds a hang
STATEFUL = ("matching-engine", "risk-engine", "order-service")
BEHIND = ("settlement", "market-data")
PAIRS = ("1/2/1",)


def wait_until(predicate, what):
    """Poll until it is true, and return what it was."""
    end = time.monotonic() + DEADLINE_S
    while not (found := predicate()):
        if time.monotonic() > end:
            raise Failed(f"waited {DEADLINE_S} s for {what}")
        time.sleep(POLL_S)
    return found


class Service:
    """One program of the exchange, through all its processes. ready: the word in its log that says so."""

    def __init__(self, exchange, name, program, arguments, ready):
        self.exchange, self.name, self.program, self.arguments = exchange, name, program, arguments
        self.log = exchange.directory / f"{name}.log"
        self._ready, self._log_from, self.child = ready, 0, None

    @property
    def pid(self):
        return self.child.pid

    def running(self):
        return self.child is not None and self.child.poll() is None

    def command(self):
        return [self.exchange.bin / self.program, *self.arguments]

    def start(self, wait=True):
        """wait=False: only kill() and wait_ready() are useful then."""
        if self.running():
            raise Failed(f"start {self.name}: it runs")
        self._log_from = self.log.stat().st_size if self.log.exists() else 0
        self.child = self.exchange.processes.start(self.command(), self.log, self.log)
        if wait:
            self.wait_ready()

    def said(self):
        """What the process that runs, or the last one, has logged."""
        with open(self.log, errors="replace") as file:
            file.seek(self._log_from)
            return file.read()

    def is_ready(self):
        return self._ready in self.said()

    def wait_ready(self):
        self.wait_for(self.is_ready, "to be ready")

    def wait_for(self, predicate, what):
        """Of this process: its end is no wait without end."""
        def there():
            ended = not self.running()  # asked first
            found = predicate()
            if ended and not found:
                raise Failed(f"wait for {self.name} {what}: it ended with {self.child.returncode}: see {self.log}")
            return found
        return wait_until(there, f"{self.name} {what}: see {self.log}")

    def wait_said(self, words):
        self.wait_for(lambda: words in self.said(), f"to say {words}")

    def kill(self):
        """SIGKILL, in whatever it does; returns when it is gone."""
        self.child.kill()
        self.child.wait()

    def terminate(self):
        """SIGTERM; returns when it is gone."""
        self.child.send_signal(signal.SIGTERM)
        self.wait_end()

    def wait_end(self):
        """For an end of its own, which must be a good one."""
        try:
            code = self.child.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"end {self.name}: it still runs after {DEADLINE_S} s: see {self.log}") from None
        if code != 0:
            raise Failed(f"end {self.name}: it ended with {code}: see {self.log}")

    def restart(self):
        """As after a crash."""
        self.kill()
        self.start()


class Gateway(Service):
    def __init__(self, exchange, number):
        name = f"gateway.{number}" if number > 1 else "gateway"
        self._page = exchange.path("http" if number == 1 else f"http.{number}")
        super().__init__(exchange, name, "gateway",
                         ["--orders", exchange.address("orders"), "--listen", exchange.address(name), "--http",
                          f"unix:{self._page}", *exchange.options_of("gateway")], "gateway.listening")

    def get(self, path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.settimeout(DEADLINE_S)
            stream.connect(self._page)
            connection = http.client.HTTPConnection("gateway")
            connection.sock = stream
            connection.request("GET", path)
            return connection.getresponse().read().decode()

    def status(self):
        return json.loads(self.get("/health"))


class BatonService(Service):
    """On one directory of data. `baton service ...` finds it at `control`."""

    def __init__(self, exchange, name, program, arguments, number=1):
        super().__init__(exchange, name, program, arguments, "service.ready")
        self.number, self.io, self.more = number, exchange.io, []
        suffix = f".{number}" if number > 1 else ""
        self.directory = exchange.directory / f"{name}{suffix}"
        self.log = exchange.directory / f"{name}{suffix}.log"
        self.control = exchange.path(f"{name}{suffix}.control")
        self._active = None  # that it follows at its start

    def command(self):
        follow = ["--standby-of", self._active] if self._active else []
        return [self.exchange.bin / self.program, "run", "--dir", self.directory, "--control", self.control, "--io", self.io,
                *self.arguments, *self.more, *follow]

    def follow(self, active, wait=True):
        """Start as the standby of another one; returns when it has all that is durable there."""
        self._active = active.directory
        self.start(wait=False)
        self._active = None
        if wait:
            self.wait_level(active)

    def wait_level(self, active):
        self.wait_for(lambda: self.is_level(active), f"to be level with {active.directory}")

    def is_level(self, active):
        here, there = self.ask("status"), active.status()
        return (here and here["phase"] == "following" and here["follow"]["connected"]
                and any(f["nonce"] == here["instance"]["nonce"] and f["following"]
                        and f["durable_seq"] == there["durable_seq"] for f in there["followers"]))

    def ask(self, word, **fields):
        """The answer to a control word; None when this process does not answer (yet, or no more)."""
        try:
            return ask_control(self.control, self.pid, word, DEADLINE_S, **fields)
        except TimeoutError:
            raise Failed(f"ask {self.name}: no answer to '{word}' in {DEADLINE_S} s: see {self.log}") from None

    def status(self):
        status = self.ask("status")
        if status is None:
            raise Failed(f"ask {self.name} for its status: no answer: see {self.log}")
        return status

    def is_ready(self):
        return super().is_ready() and self.ask("status") is not None


class Load:
    """exchange-load, and what it told at its end. progress: a file for what it tells meanwhile."""

    def __init__(self, exchange, name, options, path, progress=None):
        self.acks, self._json = exchange.directory / f"{name}.acks", exchange.directory / f"{name}.json"
        self._log = exchange.directory / f"{name}.log"
        self.child = exchange.processes.start(
            [exchange.bin / "exchange-load", "--connect", f"unix:{path}", *options, "--acks-out", self.acks, "--json",
             self._json], self._log, progress or self._log)
        self.stopped = False

    def stop(self):
        """Send nothing more. What is open then may stay without an answer."""
        self.stopped = True
        self.child.send_signal(signal.SIGTERM)

    def running(self):
        return self.child.poll() is None

    def finish(self):
        """Its summary. Whether that is a good one is the judge's to say."""
        code = self.child.wait()
        if not self._json.exists() or not self._json.stat().st_size:
            raise Failed(f"run the load: it ended with {code}: see {self._log}")
        return json.loads(self._json.read_text())


class Exchange:
    """pairs: BASE/QUOTE/UNIT of each symbol. without: services that are not to run, of BEHIND. programs, options: by the
    service's name, what to run instead, and options besides; lasting: those that are the same for as long as the data, and
    for who replays them."""

    def __init__(self, processes, bin_dir, directory, io="auto", gateways=1, pairs=PAIRS, without=(), programs=None,
                 options=None, lasting=None, patience=600):
        self.processes, self.bin, self.directory = processes, pathlib.Path(bin_dir), pathlib.Path(directory)
        self.io, self.pairs = io, tuple(pairs)
        self._options, self._lasting = options or {}, lasting or {}
        self._patience = patience  # of the order service, in seconds
        self._programs = {"matching-engine": "matching-engine-1.1.0", **(programs or {})}
        self.directory.mkdir(parents=True, exist_ok=True)
        self._sockets = tempfile.mkdtemp(prefix="baton-exchange-", dir="/tmp")  # their paths are short
        host = random.SystemRandom()
        self.group = f"239.{host.randrange(1, 255)}.{host.randrange(1, 255)}.{host.randrange(1, 255)}:{_free_port()}"
        self._consumers = [name for name in ("order-service", "risk-engine", *BEHIND) if name not in without]
        self.paid_in = {}  # (client, asset): deposits less withdrawals
        self.operator, self._transfers = Operator(self.path("orders")), {}
        self.terms = {name: [self._stateful(name)] for name in STATEFUL}  # each service's instances, one after another
        self.services = {name: terms[-1] for name, terms in self.terms.items()}
        for name in BEHIND:
            if name not in without:
                self.services[name] = Service(self, name, name, self._arguments(name), f"{name.replace('-', '_')}.ready")
        self.gateways = [Gateway(self, number) for number in range(1, gateways + 1)]
        self.services.update({gateway.name: gateway for gateway in self.gateways})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """What is not in the directory goes. Processes are ended by whoever owns them."""
        shutil.rmtree(self._sockets, ignore_errors=True)

    def path(self, name):
        return f"{self._sockets}/{name}"

    def address(self, name):
        return f"unix:{self.path(name)}"

    def options_of(self, name):
        return [str(option) for option in self._options.get(name, ())]

    def _arguments(self, name):
        at = self.address
        own = {
            "matching-engine": ["--listen", at("direct"), "--feed", at("reports"), "--risk", at("checked")],
            "risk-engine": ["--listen", at("accounts"), "--feed", at("checked"), "--orders", at("commands"), "--matching",
                            at("reports")],
            "order-service": ["--listen", at("orders"), "--feed", at("commands"), "--risk", at("checked"), "--matching",
                              at("reports"), "--patience", self._patience],
            "settlement": ["--db", self.database, "--from", at("reports")],
            "market-data": ["--dir", self.stream, "--from", at("reports"), "--listen", at("market"), "--multicast", self.group],
        }[name]
        return own + self.state_options(name) + self.options_of(name)

    def _stateful(self, name, program=None, number=1):
        return BatonService(self, name, program or self._programs.get(name, name), self._arguments(name), number)

    @property
    def database(self):
        return self.directory / "settlement.db"

    @property
    def stream(self):
        return self.directory / "market-data"

    def service(self, name):
        return self.services[name]

    def state_options(self, name):
        """Those that its replay needs, too."""
        own = {"matching-engine": ["--outbox", ",".join(self._consumers), "--symbols", len(self.pairs)],
               "risk-engine": ["--pairs", ",".join(self.pairs)]}.get(name, [])
        return [str(option) for option in [*own, *self._lasting.get(name, ())]]

    def start(self):
        """All, each when what it depends on is ready."""
        for service in self.services.values():
            service.start()

    def stop(self):
        """SIGTERM, from the clients' side on: who is asked has nothing more coming in. Each must end well."""
        order = [*(gateway.name for gateway in self.gateways), *reversed(STATEFUL), *BEHIND]
        for name in order:
            if name in self.services:
                self.services[name].terminate()

    def settle(self):
        """Until nothing is under way: who sends nothing more finds every command answered, told, settled and confirmed."""
        def quiet():
            return (not any(gateway.status()["open"] for gateway in self.gateways)
                    # In this order: what has left the first has come to the next.
                    and not any(self.service(name).status()["outbox"]["effects"] for name in reversed(STATEFUL)))
        wait_until(quiet, f"all effects to be confirmed: see the logs in {self.directory}")

    # ---- handover ----

    def fresh(self, name, program=None):
        """One more instance of one of STATEFUL, in a fresh directory, not started. Who never serves is no term."""
        active = self.service(name)
        instance = self._stateful(name, program or active.program, len(self.terms[name]) + 1)
        instance.io = active.io
        return instance

    def standby(self, name, program=None):
        """A standby of one of STATEFUL in a fresh directory, level with it."""
        standby = self.fresh(name, program)
        self.terms[name].append(standby)
        standby.follow(self.service(name))
        return standby

    def cut_over(self, name, standby, max_gap="30s", stays=False):
        """The standby becomes the service. What `baton service handover` has said. stays: the old one runs with
        --after-handover standby."""
        active = self.service(name)
        end = time.monotonic() + DEADLINE_S
        while True:
            done = subprocess.run([self.bin / "baton", "service", "handover", active.control, "--max-gap", max_gap, "-o",
                                   "json", *([] if stays else ["--wait"])], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            if done.returncode == 0:
                break
            # A busy machine: who is too far behind for this try is asked again when he has come nearer.
            if "ms passed in step" not in done.stderr or time.monotonic() > end:
                raise Failed(f"hand over {name}: {done.stderr.strip()}: see {active.log}")
        if not stays:
            active.wait_end()
        self.services[name] = standby
        return json.loads(done.stdout)["handover"]

    def handover(self, name, program=None, max_gap="30s"):
        return self.cut_over(name, self.standby(name, program), max_gap)

    # ---- clients ----

    def deposit(self, amounts):
        """amounts: {client: {asset: amount}}. Returns when all are answered; each must be taken."""
        self._transfer(DEPOSIT, amounts)

    def withdraw(self, amounts):
        self._transfer(WITHDRAW, amounts)

    def _transfer(self, kind, amounts):
        for client, of in amounts.items():
            for asset, amount in of.items():
                self.begin_transfer(kind, client, asset, amount)
        outcomes = self.finish_transfers()
        if any(outcome != DONE for outcome in outcomes):
            raise Failed(f"move money: the outcomes are {sorted(set(outcomes))}")

    def begin_transfer(self, kind, client, asset, amount):
        seq = self.operator.take(lambda sender, seq: transfer(kind, sender, seq, client, asset, amount))
        self._transfers[seq] = (client, asset, amount if kind == DEPOSIT else -amount)

    def finish_transfers(self):
        """All the operator's open commands have their answers: the outcomes."""
        outcomes = self.operator.finish()
        for seq, outcome in outcomes.items():
            client, asset, amount = self._transfers.pop(seq, (0, 0, 0))
            if client and outcome == DONE:
                self.paid_in[client, asset] = self.paid_in.get((client, asset), 0) + amount
        return list(outcomes.values())

    def load(self, name, options, gateway=1, progress=None):
        """Commands of many clients through a gateway; gateway=0: straight to the order service."""
        door = "orders" if gateway == 0 else self.gateways[gateway - 1].name
        return Load(self, name, options, self.path(door), progress)


def _free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
