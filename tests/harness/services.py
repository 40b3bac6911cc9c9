# SPDX-License-Identifier: Apache-2.0
"""One server of tests/services/services: started, asked for its URL, and hurt."""

import os
import pathlib
import shutil
import subprocess

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "services/services"


class Service:
    """`knobs` are the environment that the server's file in tests/services reads; they may be changed until it starts."""

    parts = ()  # as the script calls it; several are one server of several nodes

    def __init__(self, root, **knobs):
        self.root = pathlib.Path(root)
        self.knobs = knobs

    def _do(self, command, *arguments):
        env = {**os.environ, **{k: str(v) for k, v in self.knobs.items()}, "SVC_ROOT": str(self.root)}
        done = subprocess.run([SCRIPT, command, *arguments], env=env, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    def start(self, *parts):
        """Starts, or starts again, all of it or some parts, and waits until they answer: its URL."""
        return self._do("up", *(parts or self.parts)).partition("\n")[0]

    def stop(self, *parts):
        """Its own clean stop."""
        self._do("stop", *(parts or self.parts))

    def crash(self, *parts):
        """kill -9 of every process of it."""
        self._do("crash", *(parts or self.parts))

    def freeze(self, *parts):
        self._do("freeze", *(parts or self.parts))

    def thaw(self, *parts):
        self._do("thaw", *(parts or self.parts))

    def wipe(self):
        self._do("wipe", *self.parts)
        shutil.rmtree(self.root, ignore_errors=True)
