# SPDX-License-Identifier: Apache-2.0
"""A real Chromium, driven over the WebDriver protocol, and a server of empty pages: what a browser lets a page of some origin do.

Every name is this machine: the browser asks no DNS, port 443 of any host is the page server's TLS port and 80 its plain one."""

import contextlib
import http.server
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import threading

import requests

from harness.ports import free_port
from harness.windlass import ROOT, wait_for

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server", "--ignore-certificate-errors",
         "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,HttpsFirstBalancedMode,Translate,OptimizationHints,MediaRouter")


def missing():
    """Why there is no browser, or None."""
    absent = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    return f"not installed: {', '.join(absent)}" if absent else None


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<!doctype html><title>page</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def page_server(certs=None):
    """An empty page at every path, over TLS when there is a folder of certificates. Its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    if certs:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certs / "server.pem", certs / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


class Browser:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        certs = self.folder / "certs"
        subprocess.run([ROOT / "tests/services/certs", certs], check=True)
        plain, tls = (self.stack.enter_context(page_server(where)) for where in (None, certs))
        self.driver = self.start_driver()
        self.stack.callback(self.end_driver)
        rules = f"MAP *:443 127.0.0.1:{tls}, MAP *:8443 127.0.0.1:{tls}, MAP *:80 127.0.0.1:{plain}, EXCLUDE 127.0.0.1, MAP * ~NOTFOUND"
        arguments = [*FLAGS, f"--user-data-dir={self.folder / 'profile'}", f"--host-resolver-rules={rules}"]
        capabilities = {"acceptInsecureCerts": True, "timeouts": {"script": 60000},
                        "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": arguments}}
        self.session = "/session/" + self.ask("/session", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]
        return self

    def start_driver(self):
        self.port = free_port()
        with open(self.folder / "chromedriver.log", "wb") as log:
            driver = subprocess.Popen(["chromedriver", f"--port={self.port}"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                      start_new_session=True)
        wait_for(self.driver_answers)
        return driver

    def driver_answers(self):
        with contextlib.suppress(requests.RequestException):
            return self.ask("/status")["ready"]

    def end_driver(self):
        """And its browser, which is of the same process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.driver.pid, signal.SIGKILL)
        self.driver.wait(10)

    def __exit__(self, *_):
        with contextlib.suppress(requests.RequestException):
            requests.delete(f"http://127.0.0.1:{self.port}{self.session}", timeout=10, proxies={"http": ""})
        self.stack.close()

    def ask(self, path, body=None):
        answer = requests.request("GET" if body is None else "POST", f"http://127.0.0.1:{self.port}{path}", json=body, timeout=90, proxies={"http": ""})
        value = answer.json()["value"]
        assert answer.ok, value.get("message", value)
        return value

    def open(self, url):
        self.ask(self.session + "/url", {"url": url})

    def run(self, script, *arguments):
        """What the script, an async function's body, returns in the page."""
        body = f"const done = arguments[arguments.length - 1]; (async (args) => {{ {script} }})(Array.from(arguments).slice(0, -1)).then(done, e => done('failed: ' + e))"
        return self.ask(self.session + "/execute/async", {"script": body, "args": list(arguments)})
