# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL of our own, by tests/services/services: databases to use, and ways to hurt it."""

import itertools
import os
import pathlib
import shutil
import subprocess

import psycopg

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "services/services"


class Postgres:
    """One server. `options` are arguments for it, such as "-c max_connections=8"."""

    def __init__(self, root, options=""):
        self.root = pathlib.Path(root)
        self.env = {**os.environ, "SVC_ROOT": str(root), "PG_OPTIONS": options}
        self.admin_url = None
        self.numbers = itertools.count(1)

    def _do(self, command):
        done = subprocess.run([SCRIPT, command, "postgres"], env=self.env, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    def start(self):
        """Starts, or starts again, and waits until it answers."""
        self.admin_url = self._do("up")

    def stop(self):
        self._do("stop")

    def immediate(self):
        """pg_ctl -m immediate: no checkpoint, recovery at the next start."""
        self._do("immediate")

    def crash(self):
        """kill -9 of every process of it."""
        self._do("crash")

    def freeze(self):
        self._do("freeze")

    def thaw(self):
        self._do("thaw")

    def wipe(self):
        self._do("wipe")
        shutil.rmtree(self.root, ignore_errors=True)

    def new_database(self):
        """A fresh, empty database: its URL."""
        return new_database(self.admin_url, f"test_{os.getpid()}_{next(self.numbers)}")


def new_database(admin_url, name):
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        # The superuser is called windlass, and so is the schema: "$user" would put the tests' own tables into it.
        connection.execute(f'ALTER DATABASE "{name}" SET search_path = public')
    return admin_url.rsplit("/", 1)[0] + "/" + name


def drop_database(admin_url, url):
    name = url.rsplit("/", 1)[1]
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
