# SPDX-License-Identifier: Apache-2.0
"""Is the stub of sqs_faults_test.c a fair judge? Its answers please boto3, and a signature that is not botocore's is refused.

The C suite signs its requests with libcurl; the stub compares each signature with what botocore makes of the same request.
"""

import http.client
import json
import pathlib
import subprocess
import sys
import urllib.parse

import boto3
import botocore.config
import botocore.exceptions
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

STUB = pathlib.Path(__file__).resolve().parents[1] / "stub/sqs_stub.py"
KEY, SECRET = "AKIDEXAMPLE", "wJalr/XUtnFEMI+K7MDENG"


@pytest.fixture
def stub():
    process = subprocess.Popen([sys.executable, STUB, "--key", f"{KEY}:{SECRET}", "--queue", "jobs"], stdout=subprocess.PIPE, text=True)
    yield process.stdout.readline().split()[-1]
    process.terminate()
    process.wait(10)


def client(url, secret=SECRET, token=None):
    config = botocore.config.Config(proxies={}, retries={"total_max_attempts": 1}, read_timeout=10, connect_timeout=5)
    return boto3.session.Session().client("sqs", region_name="eu-west-1", endpoint_url=url, aws_access_key_id=KEY,
                                          aws_secret_access_key=secret, aws_session_token=token, config=config)


def ask(url, method, path, body=b"", headers=None):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def refused(url):
    return ask(url, "GET", "/state")[1]["refused"]


@pytest.mark.parametrize("token", [None, "session/token+=="])
def test_boto3_is_served(stub, token):
    sqs = client(stub, token=token)
    queue = sqs.get_queue_url(QueueName="jobs")["QueueUrl"]
    text = {"DataType": "String", "StringValue": "näme"}
    entries = [{"Id": str(n), "MessageBody": f"größe {n} \U0001f600", "MessageAttributes": {"a": text}} for n in range(10)]
    assert len(sqs.send_message_batch(QueueUrl=queue, Entries=entries)["Successful"]) == 10
    seen = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=30, MessageAttributeNames=["All"])["Messages"]
    assert sorted(m["Body"] for m in seen) == sorted(e["MessageBody"] for e in entries)
    assert seen[0]["MessageAttributes"]["a"]["StringValue"] == "näme"
    handles = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(seen)]
    assert len(sqs.change_message_visibility_batch(QueueUrl=queue, Entries=[{**h, "VisibilityTimeout": 60} for h in handles])["Successful"]) == 10
    assert len(sqs.delete_message_batch(QueueUrl=queue, Entries=handles)["Successful"]) == 10
    assert refused(stub) == 0


def test_another_secret_is_refused(stub):
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidSignature"):
        client(stub, secret="another").get_queue_url(QueueName="jobs")
    assert refused(stub) == 1


@pytest.mark.parametrize("change", ["nothing", "body", "target", "date", "signature"])
def test_one_changed_byte_is_refused(stub, change):
    """Signed as the C client signs: content-type, host, date and target."""
    body = json.dumps({"QueueName": "jobs"}).encode()
    request = AWSRequest("POST", stub + "/", data=body, headers={"Content-Type": "application/x-amz-json-1.0",
                                                                 "X-Amz-Target": "AmazonSQS.GetQueueUrl"})
    SigV4Auth(Credentials(KEY, SECRET), "sqs", "eu-west-1").add_auth(request)
    headers = dict(request.headers.items())
    if change == "body":
        body = body.replace(b"jobs", b"jobz")
    elif change == "target":
        headers["X-Amz-Target"] = "AmazonSQS.DeleteQueue"
    elif change == "date":
        headers["X-Amz-Date"] = headers["X-Amz-Date"].replace("Z", "z")
    elif change == "signature":
        last = headers["Authorization"][-1]
        headers["Authorization"] = headers["Authorization"][:-1] + ("0" if last != "0" else "1")
    status, _ = ask(stub, "POST", "/", body, headers)
    assert status == (200 if change == "nothing" else 403)
    assert refused(stub) == (0 if change == "nothing" else 1)
