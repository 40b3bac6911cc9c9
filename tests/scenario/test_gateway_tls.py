# SPDX-License-Identifier: Apache-2.0
"""TLS in the gateway itself: what it refuses, what it shows, a new certificate under load, and that requests work as without it."""

import concurrent.futures
import contextlib
import datetime
import ipaddress
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.checklist import row
from harness.gateway import make_key, start
from harness.windlass import ROOT, wait_for

CRYPTO = ("openssl", "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=here", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")


def make_ending(folder):
    """One that is sixty days old and has five to go."""
    key, name, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, now - datetime.timedelta(60), now + datetime.timedelta(5), [])
    certificate = built.add_extension(names, critical=True).sign(key, hashes.SHA256())
    (folder / "ending.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "ending.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Certificates that all tests here read; `folder` is a copy of one test's own."""
    folder = tmp_path_factory.mktemp("certs")
    subprocess.run([ROOT / "tests/services/certs", folder], check=True)
    for name, bits in (("rsa", 2048), ("weak", 1024)):
        subprocess.run([*CRYPTO, "-newkey", f"rsa:{bits}", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"], check=True, capture_output=True)
    make_ending(folder)
    subprocess.run(["openssl", "pkey", "-in", folder / "server.key", "-aes256", "-passout", "pass:x", "-out", folder / "locked.key"], check=True)
    (folder / "noise.pem").write_text("-----BEGIN CERTIFICATE-----\nbm9pc2U=\n-----END CERTIFICATE-----\n")
    (folder / "empty.pem").write_text("")
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "certs")


def settings(folder, name="server", key=None):
    return {"WINDLASS_TLS_CERT": folder / f"{name}.pem", "WINDLASS_TLS_KEY": folder / f"{key or name}.key"}


def put(folder, name):
    """Puts another pair where the gateway reads its own."""
    for end in ("pem", "key"):
        shutil.copy(folder / f"{name}.{end}", folder / f"new.{end}")
        os.replace(folder / f"new.{end}", folder / f"used.{end}")


def address(gateway):
    return "127.0.0.1", int(gateway.url.rpartition(":")[2])


def client(folder=None, low=None, high=None, ciphers=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if folder:
        context.load_verify_locations(folder / "ca.pem")
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if ciphers:
        context.set_ciphers(ciphers)
    if low:
        context.minimum_version, context.maximum_version = low, high
    return context


@contextlib.contextmanager
def connected(gateway, context, name="localhost"):
    with socket.create_connection(address(gateway), timeout=10) as plain, context.wrap_socket(plain, server_hostname=name) as tls:
        yield tls


def shown(gateway):
    """The certificate that a new connection is shown."""
    with connected(gateway, client()) as tls:
        return tls.getpeercert(binary_form=True)


def pem(path):
    return ssl.PEM_cert_to_DER_cert(path.read_text())


def talk(sock, data):
    """Sends this and returns what comes until the server closes."""
    received = b""
    with contextlib.suppress(OSError):
        sock.sendall(data)
    with contextlib.suppress(OSError):
        while chunk := sock.recv(65536):
            received += chunk
    return received


OLD, SECURE = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
HANDSHAKES = [  # what the client speaks, and whether it gets in
    ("TLS 1.0", ssl.TLSVersion.TLSv1, "ALL:@SECLEVEL=0", False),
    ("TLS 1.1", ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", False),
    ("TLS 1.2", OLD, None, True),
    ("TLS 1.3", SECURE, None, True),
    *[(f"TLS 1.2 {cipher}", OLD, f"{cipher}:@SECLEVEL=0", taken) for cipher, taken in {
        "ECDHE-RSA-AES256-GCM-SHA384": True, "ECDHE-RSA-AES128-GCM-SHA256": True, "ECDHE-RSA-CHACHA20-POLY1305": True,
        "AES128-GCM-SHA256": False, "AES128-SHA": False, "AES256-SHA256": False, "NULL-SHA256": False, "DHE-RSA-AES128-GCM-SHA256": False,
        "ECDHE-RSA-AES128-SHA": False, "ECDHE-RSA-AES128-SHA256": False, "ECDHE-RSA-NULL-SHA": False, "AECDH-AES128-SHA": False, "ADH-AES128-SHA": False,
    }.items()],
]
NO_TLS = {
    "plain HTTP": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "SSL 2": bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0") + bytes(16),
    "SSL 3": bytes.fromhex("16030000 2f010000 2b0300") + bytes(32) + bytes.fromhex("00 0004 000a 002f 0100"),
    "a record that is too long": bytes.fromhex("160301ffff") + bytes(1000),
    "noise": bytes(range(256)) * 4,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_refused(windlass, sqlite_url, made):
    gateway = start(windlass, sqlite_url, wait=False, **settings(made, "rsa"))
    gateway.ca = str(made / "rsa.pem")
    gateway.wait_ready()
    told = row("TLS", "the gateway speaks TLS 1.2 and 1.3 with forward secrecy and authenticated encryption, and nothing else", 0)
    for name, version, ciphers, taken in HANDSHAKES:
        got = None
        with contextlib.suppress(ssl.SSLError, ConnectionError), connected(gateway, client(None, version, version, ciphers)) as tls:
            got = tls.version()
        assert (got is not None) == taken, (name, got)
        told["cases"] += 1
    for name, data in NO_TLS.items():
        with socket.create_connection(address(gateway), timeout=10) as plain:
            answer = talk(plain, data)
        assert b"HTTP" not in answer and len(answer) < 64, (name, answer)
        told["cases"] += 1
    for version in (OLD, SECURE):
        context, request = client(None, version, version), b"GET /healthz HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % address(gateway)[1]
        with connected(gateway, context) as tls:
            tls.sendall(request)
            assert tls.recv(4096) and not (tls.session and tls.session.has_ticket), version
        told["cases"] += 1
    again = subprocess.run(["openssl", "s_client", "-tls1_2", "-connect", "%s:%d" % address(gateway)], input=b"R\n", capture_output=True, timeout=30)
    assert b"RENEGOTIATING" in again.stdout + again.stderr and b"error:" in again.stderr, again
    told["cases"] += 1
    context = client()
    context.set_alpn_protocols(["h2"])  # not spoken here; nobody is held to it
    with contextlib.suppress(ssl.SSLError), connected(gateway, context) as tls:
        assert tls.selected_alpn_protocol() is None
    assert gateway.api().get("/healthz").status_code == 200


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_unfinished_handshakes_cost_nothing(windlass, sqlite_url, made):
    """libmicrohttpd's epoll asks them again and again."""
    gateway = start(windlass, sqlite_url, **settings(made))
    with contextlib.ExitStack() as stack:
        for number in range(20):
            sock = stack.enter_context(socket.create_connection(address(gateway)))
            sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00"[:number % 8])
        wait_for(lambda: gateway.metrics()["windlass_http_connections"] >= 20)
        before = cpu_seconds(gateway)
        time.sleep(1.5)
        assert cpu_seconds(gateway) - before < 0.5


WRONG_PAIRS = [
    ("another's key", "server", "wrong", "is not that of the certificate"),
    ("no certificate file", "nowhere", "server", "nowhere.pem: No such file"),
    ("no key file", "server", "nowhere", "nowhere.key: No such file"),
    ("an empty file", "empty", "server", "empty.pem holds no certificate chain"),
    ("noise", "noise", "server", "noise.pem holds no certificate chain"),
    ("a key with a password", "server", "locked", "locked.key is encrypted"),
    ("a weak key", "weak", "weak", "weak.key is too weak: RSA of 1024 bits"),
]


def test_a_wrong_pair_at_the_start(windlass, sqlite_url, made):
    told = row("TLS", "the gateway does not start with a wrong certificate or key, and says why", 0)
    (made / "locked.pem").write_text("")
    for name, cert, key, words in WRONG_PAIRS:
        wrong = {"WINDLASS_TLS_CERT": made / f"{cert}.pem", "WINDLASS_TLS_KEY": made / f"{key}.key"}
        for command in ("check", "gateway"):
            done = windlass.command(command, check=False, DATABASE_URL=sqlite_url, **wrong)
            assert done.returncode == 78 and words in done.stderr, (name, command, done.stderr)
        assert "-----BEGIN" not in done.stderr
        told["cases"] += 1
    for alone in ({"WINDLASS_TLS_CERT": made / "server.pem"}, {"WINDLASS_TLS_KEY": made / "server.key"}):
        done = windlass.command("gateway", check=False, DATABASE_URL=sqlite_url, **alone)
        assert done.returncode == 78 and "belong together" in done.stderr
        told["cases"] += 1


def ask_on(gateway, folder, until, tally):
    """Asks over one connection that is kept, and over new ones, until told to stop."""
    context = client(folder)
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % address(gateway)[1]

    def ask(tls):
        tls.sendall(request)
        answer = b""
        while not answer.endswith(b"}\n"):
            part = tls.recv(4096)
            assert part, answer
            answer += part
        assert answer.startswith(b"HTTP/1.1 200"), answer

    with connected(gateway, context) as kept:
        while not until.is_set():
            ask(kept)
            with connected(gateway, context) as fresh:
                ask(fresh)
            tally.append(1)


def test_reload_under_load(windlass, sqlite_url, folder):
    """A new certificate drops no connection; a wrong one changes nothing. Clients that say nothing meanwhile hold up nobody."""
    windlass.expect("certificate-refused")
    shutil.copy(folder / "server.pem", folder / "first.pem")
    shutil.copy(folder / "server.key", folder / "first.key")
    subprocess.run([ROOT / "tests/services/certs", folder / "other"], check=True)
    (folder / "ca.pem").write_text((folder / "ca.pem").read_text() + (folder / "other/ca.pem").read_text())
    for end in ("pem", "key"):
        shutil.copy(folder / f"other/server.{end}", folder / f"second.{end}")
    put(folder, "first")
    gateway = start(windlass, sqlite_url, **settings(folder, "used"))
    silent = [socket.create_connection(address(gateway)) for _ in range(200)]
    began = time.monotonic()
    for number, sock in enumerate(silent):
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00"[:number % 8])
    until, tally, rounds = threading.Event(), [], 6
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask_on, gateway, folder, until, tally) for _ in range(4)]
        try:
            for number in range(rounds):
                put(folder, "second" if number % 2 == 0 else "first")
                gateway.signal(signal.SIGHUP)
                gateway.wait_event("certificate-reloaded", number + 1)
                assert shown(gateway) == pem(folder / "used.pem")
                seen = len(tally)
                wait_for(lambda: len(tally) > seen + 4 or any(c.done() for c in clients))
            good = pem(folder / "used.pem")
            shutil.copy(folder / "wrong.key", folder / "used.key")
            gateway.signal(signal.SIGHUP)
            [refused] = gateway.wait_event("certificate-refused")
            assert "is not that of the certificate" in refused["error"] and shown(gateway) == good
        finally:
            until.set()
        for done in clients:
            done.result(30)
    row("TLS", "a certificate is changed by SIGHUP and no connection is lost; a wrong one is refused and the old one stays", rounds + 1)
    wait_for(lambda: gateway.metrics()["windlass_http_connections"] <= 5, timeout_s=30)  # the silent ones were cut off
    assert time.monotonic() - began > 9
    for sock in silent:
        sock.close()


@pytest.fixture(scope="module")
def big():
    return json.dumps([{"type": "mail.send", "payload": "x" * 200_000}] * 40)


def test_requests_work_as_without(windlass, sqlite_url, made, big):
    gateway = start(windlass, sqlite_url, **settings(made))
    api, (_, port) = gateway.api(), address(gateway)
    head = b"HTTP/1.1\r\nHost: localhost:%d\r\n" % port
    id = api.enqueue("note.add", {"who": "x"})
    answer = api.get("/v1/jobs/" + id, params={"wait": "1s"})  # parked, and woken by time
    assert answer.status_code in (200, 202) and answer.elapsed.total_seconds() >= 0.9
    assert len(api.post("/v1/jobs/batch", data=big, headers={"Content-Type": "application/json"}).json()["ids"]) == 40
    assert api.post("/v1/jobs", data="x" * 900_000, headers={"Content-Type": "application/json"}).status_code == 413
    assert api.post("/v1/jobs", data=iter([b"x" * 100_000] * 15), headers={"Content-Type": "application/json"}).status_code == 413
    assert api.request("HEAD", "/healthz").text == ""
    waiting = [gateway.api() for _ in range(20)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(each.get, f"/v1/jobs/{id}", params={"wait": "20s"}) for each in waiting]
        wait_for(lambda: gateway.metrics()["windlass_waiters"] == 20)
        api.post(f"/v1/jobs/{id}/cancel")
        assert {answer.result(20).json()["state"] for answer in answers} == {"cancelled"}
    for data, statuses in (
        ((b"GET /healthz " + head + b"\r\n") * 2 + b"GET /nowhere " + head + b"Connection: close\r\n\r\n", [200, 200, 404]),
        (b"POST /v1/jobs " + head + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", [400]),
        (b"GET /healthz " + head + b"Host: b\r\n\r\n", [400]),
        (b"GET /healthz " + head.replace(b"\r\n", b"\n") + b"\r\n", [400]),
        (b"GET /" + b"a" * 9000 + b" " + head + b"\r\n", [414]),
        (b"GET /healthz " + head + b"A: " + b"a" * 17000 + b"\r\n\r\n", [431]),
    ):
        with connected(gateway, client(made)) as tls:
            answer = talk(tls, data)
        assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == statuses, answer[:300]


def say_goodbye(tls):
    """Tells that it closes; the answer is not waited for."""
    tls.settimeout(0)
    with contextlib.suppress(OSError):
        tls.unwrap()


def test_a_client_that_leaves_is_noticed(windlass, sqlite_url, made):
    gateway = start(windlass, sqlite_url, **settings(made))
    id = gateway.api().enqueue("note.add", {"who": "x"})
    request = f"GET /v1/jobs/{id}?wait=60s HTTP/1.1\r\nHost: 127.0.0.1:{address(gateway)[1]}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for number in range(10):
            tls = stack.enter_context(connected(gateway, client(made)))
            tls.sendall(request)
            if number % 2:
                stack.callback(say_goodbye, tls)
        wait_for(lambda: gateway.metrics()["windlass_waiters"] == 10)
    wait_for(lambda: gateway.metrics()["windlass_waiters"] == 0, timeout_s=20)


def test_hosts_origins_and_hsts(windlass, sqlite_url, made, tmp_path):
    gateway = start(windlass, sqlite_url, **settings(made), WINDLASS_ADMIN_LISTEN="127.0.0.1:0")
    api, port = gateway.api(), address(gateway)[1]
    for headers, status in (
        ({"Origin": f"https://127.0.0.1:{port}"}, 200), ({"Origin": f"http://127.0.0.1:{port}"}, 403), ({"Origin": "https://evil.example"}, 403),
        ({"Host": f"evil.example:{port}"}, 421), ({"Host": "127.0.0.1"}, 421), ({"Host": f"localhost:{port}", "Origin": f"https://localhost:{port}"}, 200),
    ):
        assert api.get("/v1/jobs", headers=headers).status_code == status, headers
    told = row("TLS", "browsers are told to come with TLS only (HSTS), by errors too", 0)
    for path in ("/healthz", "/nowhere", "/v1/jobs/none", "/" + "a" * 9000):
        assert api.get(path).headers["Strict-Transport-Security"] == "max-age=31536000", path
        told["cases"] += 1
    assert "Strict-Transport-Security" not in api.get("/healthz", headers={"Host": f"localhost:{port}"}).headers
    [listening] = gateway.events("gateway-listening")
    assert listening["tls"] == "yes"
    off = start(windlass, f"sqlite:{tmp_path / 'off.db'}", **settings(made), WINDLASS_TLS_HSTS="0")
    assert "Strict-Transport-Security" not in off.api().get("/healthz").headers


def test_a_separate_admin_listener_of_this_machine_is_plain(windlass, sqlite_url, made):
    """Health checks ask it, as they do without TLS."""
    from harness.ports import free_port

    import requests

    admin = f"127.0.0.1:{free_port()}"
    start(windlass, sqlite_url, **settings(made), WINDLASS_ADMIN_LISTEN=admin)
    answer = requests.get(f"http://{admin}/readyz", timeout=10, proxies={"http": ""})
    assert answer.status_code == 200 and "Strict-Transport-Security" not in answer.headers


def test_command_line_and_doctor(windlass, sqlite_url, folder):
    windlass.expect("certificate-ends")
    key, line = make_key("cli", "enqueue:*,read")
    gateway = start(windlass, sqlite_url, **settings(folder), WINDLASS_API_KEYS=line)
    there = {"WINDLASS_URL": gateway.url, "WINDLASS_API_KEY": key}
    done = windlass.command("queues", **there, WINDLASS_URL_CA_FILE=folder / "ca.pem")
    assert "default" in done.stdout
    for ca in ({}, {"WINDLASS_URL_CA_FILE": folder / "stranger.pem"}):
        for _ in range(3):  # its time for a connection is short when the machine is busy
            done = windlass.command("queues", check=False, **there, **ca)
            assert done.returncode == 69
            if "timeout" not in done.stderr:
                break
        assert "certificate" in done.stderr
    os.chmod(folder / "ending.key", stat.S_IRUSR | stat.S_IWUSR | stat.S_IROTH)
    told = row("TLS", "doctor warns of a certificate that ends soon and of a key that all may read", 0)
    for name, finding, words in (
        ("server", "good", "is good until"), ("ending", "doubtful", "ends soon"), ("ending", "wrong", "ending.key (the gateway's TLS key) is open to every user"),
        ("expired", "wrong", "has ended at"), (None, "good", "answers this machine only"),
    ):
        found = json.loads(windlass.command("doctor", "--json", check=False, DATABASE_URL=sqlite_url, **(settings(folder, name) if name else {})).stdout)
        assert any(each["finding"] == finding and words in each["text"] for each in found), (name, words, found)
        told["cases"] += 1
    ending = start(windlass, sqlite_url, wait=False, **settings(folder, "ending"))
    ending.wait_event("certificate-ends")
    ending.ca = str(folder / "ending.pem")
    ending.wait_ready()
    assert 0 < ending.metrics()["windlass_certificate_ends_timestamp_seconds"] - time.time() < 5 * 86400 + 60
