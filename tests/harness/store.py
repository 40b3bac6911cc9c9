# SPDX-License-Identifier: Apache-2.0
"""One way to ask either store with plain SQL, beside Windlass: rows(url, "SELECT ... WHERE id = ?", id)."""

import contextlib
import sqlite3

import psycopg


def connect(url):
    if url.startswith("sqlite:"):
        return sqlite3.connect(url.removeprefix("sqlite:"), timeout=10, isolation_level=None)
    return psycopg.connect(url, autocommit=True)


def rows(url, sql, *args):
    """All rows as tuples; `?` stands for an argument on both stores."""
    with contextlib.closing(connect(url)) as connection:
        cursor = connection.execute(sql if url.startswith("sqlite:") else sql.replace("?", "%s"), args)
        return cursor.fetchall() if cursor.description else []


def script(url, sql):
    """Several statements without arguments."""
    with contextlib.closing(connect(url)) as connection:
        if url.startswith("sqlite:"):
            connection.executescript(sql)
        else:
            connection.execute(sql)
