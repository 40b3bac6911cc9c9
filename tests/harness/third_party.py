# SPDX-License-Identifier: Apache-2.0
"""A third party that does as it is told: every path has a script of answers, and every request is written down before one is given."""

import contextlib
import http.server
import json
import threading
import time


class ThirdParty:
    """`script(path, *steps)`: one step a request, the last one stays; /a/* is all below /a/. A step is a status, or a dict of status, body, headers,
    delay (seconds before the answer), reset (applied, then the connection is closed without an answer), reset_reused (the same,
    only on a connection that was used before), raw (a function of the handler that answers in its own way, applied). A function of the
    request may stand for a step. Requests with a key that was answered well get that answer again."""

    def __init__(self, port=0):
        self.lock = threading.Lock()
        self.requests, self.steps, self.answers = [], {}, {}
        party = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            served = 0

            def log_message(self, *_):
                pass

            def handle_one(self):
                party.serve(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_one

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 512

        self.server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def script(self, path, *steps):
        with self.lock:
            self.steps[path] = [{"status": step} if isinstance(step, int) else step for step in steps]

    def serve(self, handler):
        raw = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        key, path = handler.headers.get("Idempotency-Key"), handler.path
        with self.lock:
            plain = path.split("?")[0]
            steps = self.steps.get(plain) or self.steps.get(plain.rpartition("/")[0] + "/*") or [{"status": 200}]
            step = steps.pop(0) if len(steps) > 1 else steps[0]
            request = {"method": handler.command, "path": path, "key": key, "body": raw.decode(), "at": time.time(),
                       "headers": dict(handler.headers), "reused": handler.served > 0}
            self.requests.append(request)
            step = step(request) if callable(step) else step
            status = request["status"] = step.get("status", 200)
            answer = self.answers.get(key) if key else None
            if answer is None:
                answer = status, step.get("body", {"seen": len(self.requests)})
                if key and status < 300:
                    self.answers[key] = answer
        handler.served += 1
        time.sleep(step.get("delay", 0))
        if step.get("reset") or step.get("reset_reused") and request["reused"]:
            handler.close_connection = True
            handler.connection.close()
            return
        if step.get("raw"):
            handler.close_connection = True
            with contextlib.suppress(OSError):
                step["raw"](handler)
            return
        text = answer[1] if isinstance(answer[1], str) else json.dumps(answer[1])
        try:
            handler.send_response(answer[0])
            for name, value in step.get("headers", {}).items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(text)))
            handler.end_headers()
            handler.wfile.write(text.encode())
        except OSError:
            pass  # its caller was killed

    def to(self, path):
        with self.lock:
            return [r for r in self.requests if r["path"].split("?")[0] == path]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
