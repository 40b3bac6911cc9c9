# SPDX-License-Identifier: Apache-2.0
"""A small client of the HTTP API for tests: raw answers where the answer is the test, plain results elsewhere."""

import time

import requests

TERMINAL = ("completed", "discarded", "cancelled")


class Api:
    def __init__(self, url, key=None, ca=True):
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = ca
        if key:
            self.session.headers["Authorization"] = f"Bearer {key}"

    def request(self, method, path, **options):
        return self.session.request(method, self.url + path, **{"timeout": 60, **options})

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def post_job(self, type, payload=None, wait=None, headers=None, **fields):
        """The raw answer to POST /v1/jobs."""
        query = {"wait": wait} if wait else None
        return self.post("/v1/jobs", json={"type": type, "payload": payload or {}, **fields}, params=query, headers=headers)

    def enqueue(self, type, payload=None, **fields):
        """The id of an accepted job."""
        answer = self.post_job(type, payload, **fields)
        assert answer.status_code == 202, f"{answer.status_code}: {answer.text}"
        return answer.json()["id"]

    def enqueue_batch(self, jobs):
        answer = self.post("/v1/jobs/batch", json=jobs)
        assert answer.ok, f"{answer.status_code}: {answer.text}"
        return answer.json()["ids"]

    def get_job(self, id, wait=None):
        answer = self.get(f"/v1/jobs/{id}", params={"wait": wait} if wait else None)
        assert answer.status_code in (200, 202), f"{answer.status_code}: {answer.text}"
        return answer.json()

    def wait(self, id, state=None, timeout_s=30):
        """The finished job; with `state` it must have ended, or be, in that state."""
        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            job = self.get_job(id, wait=f"{max(1, min(20, int(left)))}s" if state in (None, *TERMINAL) else None)
            if job["state"] == state or (state is None and job["state"] in TERMINAL):
                return job
            assert job["state"] not in TERMINAL, f"ended otherwise: {job}"
            assert left > 0, f"not {state or 'finished'} after {timeout_s} s: {job}"
            time.sleep(0.02)
