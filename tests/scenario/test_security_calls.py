# SPDX-License-Identifier: Apache-2.0
"""The guard, end to end: a handler calls what its payload says, and a listener on every address of this machine sees nothing of it."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import pytest

from harness.checklist import row
from harness.listener import Listener
from harness.windlass import ROOT

HERE = pathlib.Path(__file__).parent

LOOPBACK = """127.0.0.1 127.1 127.0.1 127.127.127.127 127.0.0.1. 127.1. 2130706433 017700000001 0x7f000001 0X7F000001 0x7f.0.0.1 0x7f.1
0177.0.0.1 0177.1 0177.0.0.01 00177.0.0.0x1 127.0x1 0x7F.0x0.0x0.0x1 0.0.0.0 0 0x0 00 0.0 0.0.0.0. localhost LOCALHOST LocalHost localhost.
LOCALHOST. evil.localhost ip6-localhost 127%2e0%2e0%2e1 %31%32%37.0.0.1 l%6fcalhost 0x7f%2e1 １２７.０.０.１ 127。0。0。1 127．0．0．1
①②⑦.⓪.⓪.① ｌｏｃａｌｈｏｓｔ ⓛⓞⓒⓐⓛⓗⓞⓢⓣ local\u00adhost 127.0.0.1\u200b [::1] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::]
[::ffff:127.0.0.1] [::FFFF:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:7f00:1] [::ffff:0.0.0.0] [::127.0.0.1] [::7f00:1] [64:ff9b::127.0.0.1]
[64:ff9b::7f00:1] [64:ff9b:1::127.0.0.1] [2002:7f00:1::] [2002:7f00:1::1] [2001:0:7f00:1::] [2001:0:4136:e378:8000:63bf:80ff:fffe] [::1%25lo]
[::1%lo] [fe80::1] [fe80::1%25lo] [fe80::1%lo] [fe80::1%251]""".split()
ELSEWHERE = """10.0.0.1 10.1 172.16.0.1 172.31.255.254 192.168.0.1 192.168.1 169.254.169.254 0xa9fea9fe 2852039166 0251.0376.0251.0376 169.254.43518
[::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [64:ff9b::169.254.169.254] [2002:a9fe:a9fe::1] 100.64.0.1 100.100.100.200 192.0.0.192 192.0.2.1 198.18.0.1
198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16 [fc00::1] [fd00:ec2::254] [fec0::1] [ff02::1] [100::1]
[2001:db8::1] [64:ff9b:1::10.0.0.1]""".split()
# whole URLs, {p} is the listener's port
TRICKS = [
    "{s}://93.184.216.34@127.0.0.1:{p}/", "{s}://user:password@127.0.0.1:{p}/", "{s}://93.184.216.34%40127.0.0.1:{p}/", "{s}://@127.0.0.1:{p}/",
    "{s}://public.invalid:80@127.0.0.1:{p}/", "{s}://127.0.0.1:{p}\\@public.invalid/", "{s}://public.invalid\\@127.0.0.1:{p}/",
    "{s}://public.invalid#@127.0.0.1:{p}/", "{s}://127.0.0.1:{p}#@public.invalid/", "{s}:\\\\127.0.0.1:{p}\\", "{s}:/\\127.0.0.1:{p}/",
    "{s}:127.0.0.1:{p}/", "{s}:/127.0.0.1:{p}/", "{s}:///127.0.0.1:{p}/", "//127.0.0.1:{p}/", "127.0.0.1:{p}/", "localhost:{p}",
    "{s}://127.0.0\t.1:{p}/", "{s}://127.0.0.1\n:{p}/", "{s}://127.0.0.1\r\n:{p}/", "\t{s}://127.0.0.1:{p}/", " {s}://127.0.0.1:{p}/",
    "{s}://127.0.0.1 :{p}/", "{s}://127.0.0.1:{p} /", "{s}://127.0.0.1:+{p}/", "{s}://127.0.0.1:0{p}/", "{S}://127.0.0.1:{p}/", "{s}://127.0.0.1:{p}?x#y",
    "{s}://[::ffff:127.0.0.1]:{p}/", "{s}://[127.0.0.1]:{p}/", "{s}://127.0.0.1:{p}/\x01", "{s}://127.0.0.1:{p}/\x7f", "url:{s}://127.0.0.1:{p}/",
    "${{env.BASE_HOST}}://127.0.0.1:{p}/", "${{env.BASE_URL}}@127.0.0.1:{p}/", "${{env.BASE_URL}}.localhost:{p}/", "{s}://${{env.BASE_HOST}}@127.0.0.1:{p}/",
]
SCHEMES = [f"{scheme}://127.0.0.1:{{p}}/x" for scheme in (
    "ftp", "ftps", "gopher", "gophers", "dict", "ldap", "ldaps", "telnet", "tftp", "imap", "pop3", "smtp", "smb", "rtsp", "mqtt", "scp", "sftp", "ws", "wss",
    "file", "jar", "php", "data", "unix", "rtmp")] + ["file:///etc/passwd", "file://localhost/etc/passwd", "unix:/run/docker.sock"]


@pytest.fixture
def jobs_file(tmp_path):
    shutil.copy(HERE / "caller.py", tmp_path)
    return shutil.copy(HERE / "caller_jobs.yaml", tmp_path / "jobs.yaml")


@pytest.fixture
def caller(windlass, jobs_file, sqlite_url):
    """Runs calls(type, [url, …], **settings of the worker) in a handler: the answers."""
    settings = {"DATABASE_URL": sqlite_url, "WINDLASS_JOBS": jobs_file, "WINDLASS_CONCURRENCY": 2}
    windlass.migrate(**settings)
    api = windlass.gateway(**settings).api()
    workers = {}

    def calls(type, requests, **extra):
        if extra not in workers.values():
            for worker in workers:
                worker.stop()
            workers.clear()
            workers[windlass.work(**settings, BASE_URL="http://public.invalid", BASE_HOST="public.invalid", **extra)] = extra
        requests = [request if isinstance(request, dict) else {"url": request} for request in requests]
        job = api.wait(api.enqueue(type, {"calls": requests}), timeout_s=120)
        assert job["state"] == "completed", job
        return job["result"]

    return calls


@pytest.fixture
def internal():
    listener = Listener()
    yield listener
    listener.close()


def spellings(port):
    own = [socket.gethostname()]
    urls = [f"{scheme}://{host}:{port}/" for host in LOOPBACK + ELSEWHERE + own for scheme in ("http", "https")]
    urls += [f"HTTP://{host}:{port}/" for host in LOOPBACK[:3]] + [f"http://{host}:{port}" for host in LOOPBACK[:3]]
    urls += [trick.format(s=scheme, S=scheme.upper(), p=port) for trick in TRICKS for scheme in ("http", "https")]
    return list(dict.fromkeys(urls))


def refused(url, answer):
    """Was it refused for what it is, and not only unreachable by chance?"""
    if answer["fate"] is None:  # refused by the engine, before there was a call
        return bool(answer["error"])
    reached = ("Failed to connect", "Couldn't connect", "timed out", "SSL", "reset", "Connection")
    return answer["fate"] == "not_sent" and answer["status"] == 0 and not any(word in answer["error"] for word in reached)


def test_spellings_of_internal_addresses(caller, internal):
    urls = spellings(internal.port)
    row("SSRF", "spellings of internal addresses: none reaches a listener on every address", cases=len(urls))
    answers = caller("call", urls)
    bad = [(url, answer) for url, answer in zip(urls, answers) if not refused(url, answer)]
    assert not bad and not internal.connections, (bad[:5], internal.connections)
    for url, answer in zip(urls, answers):
        assert not any(word in answer["error"] for word in ("loopback", "private", "link-local")), (url, answer)
    public = [url for url, answer in zip(urls, answers) if "is not public" in answer["error"]]
    assert len(public) >= 60, "most of them are refused by their address"


def test_spellings_in_declared_calls(windlass, jobs_file, sqlite_url, internal):
    """`url_from_payload: true`: the same, without a handler; refused once and for all."""
    known = [host for host in LOOPBACK if host.isascii() and "%" not in host and not host.endswith(".") and host != "ip6-localhost"]  # to everybody
    urls = [f"http://{host}:{internal.port}/" for host in known]
    row("SSRF", "an http type that takes its address from the payload: refused, not tried again", cases=len(urls))
    settings = {"DATABASE_URL": sqlite_url, "WINDLASS_JOBS": jobs_file}
    windlass.migrate(**settings)
    api = windlass.gateway(**settings).api()
    worker = windlass.work(**settings)
    ids = api.enqueue_batch([{"type": "open", "payload": {"url": url}} for url in urls])
    jobs = [api.wait(id, "discarded") for id in ids]
    assert all(job["attempt"] == 1 and "is not public" in job["reason"] for job in jobs) and len(jobs) >= 40
    assert not internal.connections
    worker.stop()
    windlass.work(**settings, WINDLASS_REMOTE_ALLOW="127.0.0.0/8")
    assert api.wait(api.enqueue("open", {"url": urls[0]}))["state"] == "completed" and len(internal.requests) == 1


def test_the_listener_can_be_reached(caller, internal):
    """What makes the test above able to fail: the same spellings, allowed, arrive."""
    hosts = ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "LocalHost", "127%2e0%2e0%2e1", "[::1]", "[::ffff:127.0.0.1]"]
    urls = [f"http://{host}:{internal.port}/" for host in hosts]
    told = row("SSRF", "WINDLASS_REMOTE_ALLOW and calls_to: anywhere let the same spellings arrive", cases=len(urls) * 2 + 2)
    answers = caller("call", urls, WINDLASS_REMOTE_ALLOW="127.0.0.0/8, ::1")
    assert [answer["fate"] for answer in answers] == ["answered"] * len(urls), answers
    assert [answer["fate"] for answer in caller("call_https", urls[:1], WINDLASS_REMOTE_ALLOW="127.0.0.0/8")] == ["answered"]
    assert [answer["fate"] for answer in caller("call_https", urls[:1], WINDLASS_REMOTE_ALLOW="127.0.0.2/32")] == ["not_sent"]
    seen = len(internal.requests)
    assert [answer["fate"] for answer in caller("call_anywhere", urls)] == ["answered"] * len(urls)
    assert len(internal.requests) == seen + len(urls) and told["cases"]


def test_address_from_the_environment_is_not_guarded(caller, internal):
    row("SSRF", "an address out of ${env.X} is the operator's; with a suffix it is not", cases=4)
    settings = {"HEADER": "x"}
    own = [{"url": "${env.HEADER}/x"}, {"url": "${env.HEADER}?y"}]
    tricked = [{"url": "${env.HEADER}0/x"}, {"url": "${env.HEADER}@127.0.0.1/x"}]
    settings["HEADER"] = f"http://127.0.0.1:{internal.port}"
    answers = caller("call", own + tricked, **settings)
    assert [answer["fate"] for answer in answers] == ["answered"] * 2 + ["not_sent"] * 2, answers
    assert len(internal.requests) == 2


def test_other_protocols(caller, internal):
    urls = [url.format(p=internal.port) for url in SCHEMES]
    row("SSRF", "only http and https are spoken, guarded or not", cases=2 * len(urls))
    for type in ("call", "call_anywhere"):
        answers = caller(type, urls)
        assert all(refused(url, answer) for url, answer in zip(urls, answers)), answers
    assert not internal.connections


def test_redirects_and_proxies(caller, internal):
    """An allowed host sends us inside; the environment names a proxy."""
    row("SSRF", "redirects to an internal address are not followed, proxies of the environment not used", cases=7)
    statuses = ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect", "300 Choices"]
    for status in statuses:
        head = f"HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:{internal.port}/\r\nRefresh: 0; url=http://127.0.0.1:{internal.port}/\r\n"
        redirector = Listener("127.0.0.2", answer=f"{head}Alt-Svc: h2=\"127.0.0.1:{internal.port}\"\r\nContent-Length: 0\r\n\r\n".encode())
        answers = caller("call", [f"http://127.0.0.2:{redirector.port}/"] * 2, WINDLASS_REMOTE_ALLOW="127.0.0.2")
        redirector.close()
        assert [answer["status"] for answer in answers] == [int(status[:3])] * 2 and len(redirector.requests) == 2
    proxy = f"http://127.0.0.1:{internal.port}"
    answers = caller("call", ["http://public.invalid/"], http_proxy=proxy, HTTP_PROXY=proxy, all_proxy=proxy, ALL_PROXY=proxy)
    assert answers[0]["fate"] == "not_sent" and not internal.connections


def namespaces():
    """None, or why there are none to be had."""
    command = ["unshare", "-Urnm", "sh", "-ec", "ip link set lo up; ip addr add 93.184.216.34/32 dev lo; mount --bind /etc/hosts /etc/resolv.conf"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else f"no namespace: {done.stderr.strip()}"


def test_dns_rebinding(tmp_path):
    """Names that lead inside, always or every other time, with a DNS server and a public address of our own: rebinding.py."""
    told = row("SSRF", "DNS: names that resolve to internal addresses, always or every other time", cases=0)
    if why := namespaces():
        pytest.skip(why)
    command = ["unshare", "-Urnm", sys.executable, HERE / "rebinding.py", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env={**os.environ, "PYTHONPATH": str(ROOT / "tests")})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    told["cases"] = json.loads(done.stdout.splitlines()[-1])["cases"]
    assert told["cases"] >= 10
