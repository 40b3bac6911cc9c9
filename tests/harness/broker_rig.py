# SPDX-License-Identifier: Apache-2.0
"""A rig whose jobs travel by a broker, with sources that other services send to. Without a broker it is a rig like any other."""

import pathlib

from harness.rig import Rig
from harness.windlass import ROOT, wait_for


class BrokerRig(Rig):
    def __init__(self, windlass, url, broker, engine_jobs, folder):
        self.broker = broker
        prefix = getattr(broker, "prefix", "")
        text = (ROOT / "tests/scenario/broker_jobs.yaml").read_text().replace("{prefix}", prefix)
        text = text.replace("module: ", f"module: {pathlib.Path(engine_jobs).parent}/")
        if not prefix:
            text = text.partition("sources:")[0]
        jobs = folder / "jobs.yaml"
        jobs.write_text(text)
        super().__init__(windlass, url, str(jobs))
        # a topic or queue that the dispatcher is just making
        windlass.expect("kafka-consumer", "sqs-queue-trouble")
        # a worker that ends while its group still talks about partitions
        windlass.expect("kafka-client-left-behind")
        # of the short lease below, on a machine that stands still for a moment
        windlass.expect("leases-released")
        self.rows("CREATE TABLE turns(row text NOT NULL, n int NOT NULL, place int NOT NULL)")
        self.settings.update(broker.settings, WINDLASS_DISPATCH_LEASE="3s")
        self.dispatcher = None
        if self.travels:
            self.dispatcher = self.dispatch()

    @property
    def travels(self):
        return self.broker.name != "none"

    def dispatch(self, **settings):
        return self.windlass.dispatch(**{**self.settings, **settings})

    def send(self, source, *bodies, **options):
        """To a source's topic, once it exists: the worker makes it."""
        self.broker.send(self.broker.topic(source), *bodies, **options)

    def place_exists(self, source):
        try:
            self.broker.depth(self.broker.topic(source))
            return True
        except Exception:  # noqa: BLE001 - each client has its own
            return False

    def wait_sources(self):
        for source in ("events", "orders", "turns"):
            wait_for(lambda name=source: self.place_exists(name), 30, 0.1)

    def list(self, **query):
        return self.api.get("/v1/jobs", params=query).json()["items"]
