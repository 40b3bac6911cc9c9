# SPDX-License-Identifier: Apache-2.0
"""The Celery application of main.py: one row a task, acknowledged after its commit, no results. Each child has one connection."""

import json
import os

import psycopg
from celery import Celery, signals

QUEUE = os.environ["PEER_QUEUE"]
app = Celery("bench", broker=os.environ["PEER_BROKER"])
app.conf.update(task_acks_late=True, task_ignore_result=True, task_default_queue=QUEUE, task_default_queue_type="classic", worker_prefetch_multiplier=32,
                worker_disable_rate_limits=True, worker_enable_remote_control=False, worker_send_task_events=False,
                worker_hijack_root_logger=False, broker_connection_retry_on_startup=True,
                broker_transport_options={"confirm_publish": True})
connections = []


@signals.worker_process_init.connect
def connect(**_):
    connections.append(psycopg.connect(os.environ["PEER_STORE"], autocommit=True, prepare_threshold=0))


@app.task(name="row")
def row(job):
    connections[0].execute("INSERT INTO bench_kept(job_id, payload) VALUES (%s, %s) ON CONFLICT DO NOTHING", (job["id"], json.dumps(job)))
