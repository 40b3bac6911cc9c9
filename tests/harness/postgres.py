# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL of our own, by tests/services/services: databases to use, and ways to hurt it."""

import itertools
import os

import psycopg

from harness.services import Service


class Postgres(Service):
    """One server. `options` are arguments for it, such as "-c max_connections=8"."""

    parts = ("postgres",)

    def __init__(self, root, options=""):
        super().__init__(root, PG_OPTIONS=options)
        self.admin_url = None
        self.numbers = itertools.count(1)

    def start(self):
        self.admin_url = super().start()

    def immediate(self):
        """pg_ctl -m immediate: no checkpoint, recovery at the next start."""
        self._do("immediate", *self.parts)

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
