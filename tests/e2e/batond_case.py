"""What the tests of batond share: a batond beside a toy service, and a client that says exactly what it is told to."""
import http.client
import json
import re
import socket
import ssl

from cli_case import ServiceCase, process, wait_until
from network import Listener, listen_unix
from workdir import DEADLINE_S, connect_unix

BATOND = process.program("batond")
TOKEN = "a-token-of-this-test-0123456789"


class Answer:
    def __init__(self, response):
        self.code = response.status
        self.headers = response.headers
        self.text = response.read().decode()
        self.instance = response.headers["Baton-Instance"]

    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"{self.code} {self.instance}\n{self.text}"


class BatondCase(ServiceCase):
    """Services as in ServiceCase; self.batond is the newest batond."""

    def token_file(self, token=TOKEN, mode=0o600):
        path = self.root / "token"
        path.unlink(missing_ok=True)
        path.write_text(token + "\n")
        path.chmod(mode)
        return path

    def sidecar(self, *options, listen="127.0.0.1:0", service=None, env=None, patient=True):
        """Started and listening. patient: a busy machine is no silent service."""
        more = ("--answer-timeout", f"{int(DEADLINE_S)}s") if patient else ()
        self.batond = self.spawn(BATOND, "--service", service or self.data, "--listen", listen, *more, *options, env=env)
        line = self.batond.wait_for("batond.listening", "stderr")
        self.address = re.search(r"address=(\S+):(\d+)", line).groups()
        self.tls = None
        return self.batond

    def get(self, path, method="GET", headers=None, body=None, host=None):
        host = host or self.address[0]
        if self.tls is not None:
            connection = http.client.HTTPSConnection(host, int(self.address[1]), timeout=DEADLINE_S, context=self.tls)
        else:
            connection = http.client.HTTPConnection(host, int(self.address[1]), timeout=DEADLINE_S)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def post(self, path, token=TOKEN, **options):
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        return self.get(path, "POST", headers, **options)

    def health(self):
        return self.get("/health").json()

    def ready(self):
        wait_until(lambda: self.get("/readyz").code == 200, "readiness")

    def metric(self, name, text=None):
        """The value of a sample, its labels in its name."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", text or self.get("/metrics").text, re.MULTILINE)
        return float(found.group(1)) if found else None

    def connect(self):
        """A raw connection."""
        connection = socket.create_connection((self.address[0], int(self.address[1])), DEADLINE_S)
        self.addCleanup(connection.close)
        return connection

    def raw(self, data):
        """All that batond answers to these bytes, to the connection's end."""
        connection = self.connect()
        try:
            connection.sendall(data)
            return read_to_end(connection)
        except (BrokenPipeError, ConnectionResetError):
            return b""

    def certificate(self, name="tls"):
        """(certificate, key) files of a server that is called localhost."""
        certificate, key = self.root / f"{name}.crt", self.root / f"{name}.key"
        process.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1", check=0)
        key.chmod(0o600)
        return certificate, key

    def trust(self, certificate):
        self.tls = ssl.create_default_context(cafile=str(certificate))
        self.tls.check_hostname = False


def read_to_end(connection):
    data = b""
    while True:
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            return data
        if not part:
            return data
        data += part


class FakeService:
    """Listens where a service would, and answers each line with what answer(line) gives: bytes, None to hang up, or
    ... to say nothing."""

    def __init__(self, case, answer):
        self.path = case.socket_path("fake")
        self.answer = answer
        self.asked = []
        self.listener = Listener(listen_unix(self.path), self.talk)
        self.connections = self.listener.connections
        case.addCleanup(self.close)

    def talk(self, connection):
        data = b""
        while part := connection.recv(4096):
            data += part
            while b"\n" in data:
                line, _, data = data.partition(b"\n")
                self.asked.append(json.loads(line))
                said = self.answer(json.loads(line))
                if said is None:
                    return
                if said is not ...:
                    connection.sendall(said)

    def close(self):
        self.listener.close()


def status_line(phase="running", nonce="f" * 32, version="2.5.7", **more):
    return json.dumps({"baton": 1, "ok": True, "do": "status", "phase": phase, "sealed": False, "epoch": 1, "seq": 7,
                       "instance": {"service": "fake", "version": version, "pid": 4242, "nonce": nonce},
                       **more}).encode() + b"\n"


__all__ = ["BATOND", "TOKEN", "Answer", "BatondCase", "FakeService", "connect_unix", "process", "read_to_end",
           "status_line", "wait_until"]
