# SPDX-License-Identifier: Apache-2.0
"""Every transport against servers that only pretend: a certificate of another host, an expired one, one signed by itself or by a stranger,
old TLS, none at all. None of them may get to see a password, and the log says why."""

import concurrent.futures
import contextlib
import socket
import ssl
import struct
import subprocess
import threading

import pytest

from harness.checklist import row
from harness.gateway import JOBS
from harness.windlass import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
SECRET = "geheim-4711"
# What the server shows, the oldest and newest TLS it speaks, and what the client's words must have one of.
FAULTS = {
    "another host": ("wrong", None, None, ("host", "name", "mismatch", "verif", "certificate")),
    "expired": ("expired", None, None, ("expired", "verif", "certificate")),
    "signed by itself": ("lone", None, None, ("self", "verif", "certificate")),
    "signed by a stranger": ("stranger", None, None, ("verif", "certificate", "issuer", "self")),
    "TLS 1.0": ("server", ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1, ("version", "protocol", "handshake", "ssl", "tls")),
    "TLS 1.1": ("server", ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1, ("version", "protocol", "handshake", "ssl", "tls")),
    "no TLS": (None, None, None, ("ssl", "tls", "wrong version", "unknown")),
}


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certs")
    subprocess.run([ROOT / "tests/services/certs", folder], check=True)
    return folder


class Pretender:
    """A listener that lets clients in as far as they go, and keeps what they said over TLS, or in the clear when it speaks none."""

    def __init__(self, certs, fault=None, postgres=False):
        shown, low, high, _ = FAULTS.get(fault, ("server", None, None, ()))
        self.postgres, self.heard, self.greeted, self.context = postgres, b"", 0, None
        if shown:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certs / f"{shown}.pem", certs / f"{shown}.key")
            if low:
                self.context.set_ciphers("ALL:@SECLEVEL=0")
                self.context.minimum_version, self.context.maximum_version = low, high
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(3)
            if self.postgres:  # its clients ask first whether there is TLS
                length, code = struct.unpack("!II", connection.recv(8))
                assert (length, code) == (8, 80877103)
                connection.sendall(b"S" if self.context else b"N")
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            self.greeted += 1
            while data := connection.recv(4096):
                self.heard += data
                if not self.context:
                    connection.sendall(b"I do not understand.\r\n")
                    return

    def close(self):
        self.socket.close()


@contextlib.contextmanager
def pretender(certs, fault, postgres=False):
    server = Pretender(certs, fault, postgres)
    yield server
    server.close()


def settings(transport, port, certs):
    ca = certs / "ca.pem"
    return {
        "postgres": {"DATABASE_URL": f"postgresql://u:{SECRET}@localhost:{port}/x?sslmode=verify-full&sslrootcert={ca}"},
        "amqp": {"BROKER_URL": f"amqps://u:{SECRET}@localhost:{port}/", "WINDLASS_BROKER_CA_FILE": ca},
        "kafka": {"BROKER_URL": f"kafka://u:{SECRET}@localhost:{port}?security=sasl_ssl&mechanism=PLAIN", "WINDLASS_BROKER_CA_FILE": ca},
        "sqs": {"BROKER_URL": f"sqs://eu-west-1?endpoint=https://localhost:{port}&account=123456789012", "WINDLASS_BROKER_CA_FILE": ca,
                "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET},
    }[transport]


def doctor(windlass, sqlite_url, transport, port, certs):
    """`windlass doctor` speaks to the store and the broker as the roles do, once."""
    told = {"DATABASE_URL": sqlite_url, "WINDLASS_JOBS": JOBS, **settings(transport, port, certs)}
    return windlass.command("doctor", check=False, timeout_s=60, **told)


TRANSPORTS = ("postgres", "amqp", "kafka", "sqs")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_good_server_is_spoken_to(windlass, sqlite_url, certs, transport):
    """Otherwise the tests below would show nothing."""
    with pretender(certs, None, transport == "postgres") as server:
        doctor(windlass, sqlite_url, transport, server.port, certs)
        assert server.greeted and server.heard


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_pretenders_get_nothing(windlass, sqlite_url, certs, transport):
    told = row("TLS", f"{transport}: another host, expired, self-signed, a stranger's, TLS 1.0 and 1.1, none: refused, with a reason", 0)

    def meet(fault):
        with pretender(certs, fault, transport == "postgres") as server:
            done = doctor(windlass, sqlite_url, transport, server.port, certs)
        return fault, done.returncode, done.stdout + done.stderr, server.heard

    with concurrent.futures.ThreadPoolExecutor(len(FAULTS)) as pool:  # some clients go on trying for seconds
        for fault, code, said, heard in pool.map(meet, FAULTS):
            assert code != 0 and SECRET not in said, (fault, said)
            assert any(word in said.lower() for word in FAULTS[fault][3]), (fault, said)
            assert SECRET.encode() not in heard and (fault == "no TLS" or not heard), (fault, heard)
            told["cases"] += 1


PLAIN = {
    "postgres": "postgresql://u:{secret}@192.0.2.1/x?sslmode={mode}",
    "amqp": "amqp://u:{secret}@192.0.2.1/",
    "kafka": "kafka://u:{secret}@192.0.2.1?security=sasl_plaintext&mechanism=PLAIN",
    "sqs": "sqs://eu-west-1?endpoint=http://192.0.2.1:9324",
}


def test_nothing_readable_leaves_the_machine(windlass, sqlite_url, tmp_path):
    """The address is one that nobody has (RFC 5737); it is refused before anything is connected."""
    told = row("TLS", "plaintext to another machine is refused at the start unless it says insecure=true", 0)
    windlass.expect()
    for name, pattern in PLAIN.items():
        for mode in ("disable", "allow", "prefer", "require", "verify-ca") if name == "postgres" else ("",):
            url = pattern.format(secret=SECRET, mode=mode)
            chosen = {"DATABASE_URL": url} if name == "postgres" else {"DATABASE_URL": sqlite_url, "BROKER_URL": url}
            for role, listen in (("gateway", "WINDLASS_HTTP_LISTEN"), ("work", "WINDLASS_ADMIN_LISTEN")):
                process = windlass.start(role, WINDLASS_JOBS=JOBS, **chosen, **{listen: "127.0.0.1:0"})
                assert process.popen.wait(10) == 78, (name, mode, role, process.log())
                assert "insecure" in process.log() and SECRET not in process.log(), process.log()
                told["cases"] += 1
