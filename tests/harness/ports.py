# SPDX-License-Identifier: Apache-2.0
"""Free loopback ports below the kernel's ephemeral range, so that a restarted process finds its port still free. None is given
out twice: what still talks to the one who had it before must not meet another."""

import os
import random
import socket

_given = set()


def free_port():
    low, high = map(int, os.environ.get("SVC_PORTS", "20000-29999").split("-"))
    while True:
        port = random.choice([port for port in range(low, high + 1) if port not in _given])
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
