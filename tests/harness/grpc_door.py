# SPDX-License-Identifier: Apache-2.0
"""A gateway with its gRPC door open, seen by grpcio: stubs of the .proto files as they are in the tree, and what its errors say."""

import functools
import importlib
import json
import pathlib
import sys
import tempfile

import grpc
import grpc_tools
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

from harness.gateway import JOBS
from harness.ports import free_port
from harness.windlass import ROOT, wait_for

PROTO = ROOT / "producers/grpc/proto"


@functools.cache
def modules():
    """jobs_pb2 and jobs_pb2_grpc."""
    folder = tempfile.mkdtemp(prefix="windlass-proto-")
    known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    # From a copy of this one file: what it imports is what every user has.
    only = pathlib.Path(folder, "proto/windlass/v1")
    only.mkdir(parents=True)
    (only / "jobs.proto").write_text((PROTO / "windlass/v1/jobs.proto").read_text())
    out = pathlib.Path(folder, "python")
    out.mkdir()
    code = protoc.main(["protoc", f"-I{folder}/proto", f"-I{known}", f"--python_out={out}", f"--grpc_python_out={out}", "windlass/v1/jobs.proto"])
    assert code == 0
    sys.path.insert(0, str(out))
    return importlib.import_module("windlass.v1.jobs_pb2"), importlib.import_module("windlass.v1.jobs_pb2_grpc")


def open_gateway(windlass, store_url, role="gateway", **settings):
    """A gateway that listens for gRPC too; its address is process.grpc."""
    listen = f"127.0.0.1:{free_port()}"
    settings = {"DATABASE_URL": store_url, "WINDLASS_JOBS": str(JOBS), "WINDLASS_GRPC_LISTEN": listen, **settings}
    process = getattr(windlass, role)(**settings)
    process.grpc = listen
    return process


class Door:
    """One channel. Calls take the fields of their request, and `metadata` and `timeout`."""

    def __init__(self, address, key=None, credentials=None, options=()):
        self.pb, stubs = modules()
        options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.use_local_subchannel_pool", 1), *options]
        self.channel = grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address, options)
        self.stub = stubs.JobsStub(self.channel)
        self.metadata = [("authorization", f"Bearer {key}")] if key else []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def job(self, type, payload=None, **fields):
        text = "" if payload is None else payload if isinstance(payload, str) else json.dumps(payload)
        return self.pb.JobRequest(type=type, payload=text, **fields)

    def call(self, method, request, timeout=30, metadata=()):
        return getattr(self.stub, method)(request, timeout=timeout, metadata=[*self.metadata, *metadata])

    def enqueue(self, type, payload=None, key="", wait=None, timeout=30, metadata=(), **fields):
        request = self.pb.EnqueueRequest(job=self.job(type, payload, **fields), idempotency_key=key)
        if wait is not None:
            request.wait.FromMilliseconds(int(wait * 1000))
        return self.call("Enqueue", request, timeout, metadata)

    def get(self, id, **fields):
        return self.call("Get", self.pb.GetRequest(id=id, **fields))

    def cancel(self, id, **fields):
        return self.call("Cancel", self.pb.CancelRequest(id=id, **fields))

    def wait(self, id, timeout=30, **fields):
        return self.call("Wait", self.pb.WaitRequest(id=id, **fields), timeout)

    def watch(self, timeout=60, **fields):
        return self.call("Watch", self.pb.WatchRequest(**fields), timeout)

    def list(self, **fields):
        return self.call("List", self.pb.ListRequest(**fields))

    def batch(self, *messages, timeout=60):
        """Each message: a list of jobs, or a whole EnqueueBatchRequest."""
        requests = [m if isinstance(m, self.pb.EnqueueBatchRequest) else self.pb.EnqueueBatchRequest(jobs=m) for m in messages]
        return self.stub.EnqueueBatch(iter(requests), timeout=timeout, metadata=self.metadata)


def refused(call):
    """The error of a call that must fail."""
    try:
        result = call()
        if hasattr(result, "__next__"):
            for _ in result:
                pass
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"not refused: {result}")


class Said:
    """What an error says, in the words of a problem document."""

    def __init__(self, error):
        self.code, self.detail = error.code(), error.details()
        self.slug = self.status = self.retry_s = None
        self.places, self.notes = [], {}
        status = rpc_status.from_call(error)
        for detail in status.details if status else ():
            for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
                if detail.Is(kind.DESCRIPTOR):
                    message = kind()
                    assert detail.Unpack(message)
                    self.take(message)

    def take(self, message):
        if isinstance(message, error_details_pb2.ErrorInfo):
            assert message.domain == "windlass"
            self.slug, self.notes = message.reason, dict(message.metadata)
            self.status = int(self.notes["status"])
        elif isinstance(message, error_details_pb2.BadRequest):
            self.places = [(v.field, v.description) for v in message.field_violations]
        else:
            self.retry_s = message.retry_delay.seconds


def metric(process, name, **labels):
    """The sum of a metric's samples that have these labels."""
    wanted = [f'{k}="{v}"' for k, v in labels.items()]
    return sum(v for sample, v in process.metrics().items() if sample.partition("{")[0] == name and all(w in sample for w in wanted))


def wait_metric(process, value, name, **labels):
    wait_for(lambda: metric(process, name, **labels) == value, every_s=0.05)
