# SPDX-License-Identifier: Apache-2.0
"""A gateway and workers on one store, with the handlers of tests/scenario/engine_jobs.c and tables for their effects."""

from harness.store import rows
from harness.windlass import wait_for


class Rig:
    def __init__(self, windlass, url, jobs):
        self.windlass, self.url, self.jobs = windlass, url, jobs
        self.settings = {"DATABASE_URL": url, "WINDLASS_JOBS": jobs, "WINDLASS_CONCURRENCY": 4, "WINDLASS_LEASE": "3s"}
        windlass.migrate(**self.settings)
        self.rows("CREATE TABLE effects(id text NOT NULL, who text NOT NULL, PRIMARY KEY (id, who))")
        self.rows("CREATE TABLE stock(sku text PRIMARY KEY, free int NOT NULL)")
        self.gateway = windlass.gateway(**self.settings)
        self.api = self.gateway.api()

    def work(self, **settings):
        return self.windlass.work(**{**self.settings, **settings})

    def rows(self, sql, *args):
        return rows(self.url, sql, *args)

    def effects(self, id):
        return [who for (who,) in self.rows("SELECT who FROM effects WHERE id = ? ORDER BY who", id)]

    def run(self, type, payload=None, timeout_s=30, **fields):
        return self.api.wait(self.api.enqueue(type, payload, **fields), timeout_s=timeout_s)


def attempts(worker, id=None):
    """The outcome lines of one job, or of all."""
    return [e for e in worker.events("attempt") if id in (None, e["id"])]


def napping(rig, *ids):
    """Waits until the handler of one of them has said so; it is shown within a second."""
    wait_for(lambda: any((rig.api.get_job(id).get("progress") or {}).get("note") == "napping" for id in ids))
