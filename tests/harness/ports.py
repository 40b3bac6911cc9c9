# SPDX-License-Identifier: Apache-2.0
"""Free loopback ports below the kernel's ephemeral range, so that a restarted process finds its port still free. None is given
out twice: what still talks to the one who had it before must not meet another, and several runs may share the machine. A port
is held as one byte's lock on a file that all runs share; the kernel lets it go with the process. The servers of
tests/services pick theirs from the range below."""

import fcntl
import os
import pathlib
import random
import socket
import tempfile

_given = set()
_locks = None


def _hold(port):
    """False: another run has it."""
    global _locks
    if _locks is None:  # never closed: that would give back all of them
        _locks = open(pathlib.Path(tempfile.gettempdir()) / f"windlass-ports-{os.getuid()}", "wb")
    try:
        fcntl.lockf(_locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def free_port():
    low, high = map(int, os.environ.get("TEST_PORTS", "22000-29999").split("-"))
    while True:
        port = random.choice([port for port in range(low, high + 1) if port not in _given])
        _given.add(port)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if _hold(port):
            return port
