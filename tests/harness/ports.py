# SPDX-License-Identifier: Apache-2.0
"""Free loopback ports below the kernel's ephemeral range, so that a restarted process finds its port still free."""

import os
import random
import socket


def free_port():
    low, high = map(int, os.environ.get("SVC_PORTS", "20000-29999").split("-"))
    while True:
        port = random.randint(low, high)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
