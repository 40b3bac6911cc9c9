# SPDX-License-Identifier: Apache-2.0
"""What tests/scenario/snoop.c tries, from a program: runs the payload's Python expression and answers with its value or its error."""

import ctypes  # noqa: F401  for expressions
import json
import os  # noqa: F401
import socket  # noqa: F401
import subprocess  # noqa: F401
import sys
import tempfile  # noqa: F401


def value_of(expression):
    try:
        return {"value": str(eval(expression))}
    except OSError as error:
        return {"errno": error.errno}


for text in sys.stdin:
    message = json.loads(text)
    if "payload" in message:
        print(json.dumps({"job": message["job"], "done": value_of(message["payload"]["do"])}), flush=True)
