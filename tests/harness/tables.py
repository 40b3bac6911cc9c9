# SPDX-License-Identifier: Apache-2.0
"""Tables that tests fill and that are printed when all have run: what the fault tests struck, the security checklist.

A test tells a row with tell(); it travels with the test's report, so it arrives from pytest's worker processes too, and is judged
with the test: a row of a failed one says so. tests/run collects the rows of all its pytest runs and C programs (a line
`# table security {json}` on their output) in the folder TEST_TABLES and prints at its end; pytest by itself prints at its own."""

import collections
import json
import os
import pathlib

import pytest

from harness.checklist import AREAS

COLUMNS = {
    "faults": ("fault", "store", "struck", "accepted", "unknown", "retried", "lost", "doubled", "recovery_s"),
    "security": ("area", "requirement", "test", "cases", "verdict"),
}
ORDER = {"security": lambda row: (AREAS.index(row["area"]), row["requirement"])}
running = None  # the test that this process is in


def tell(table, row):
    """Adds a row, which the caller may go on changing until the test ends."""
    assert table in COLUMNS and running
    running.user_properties.append((f"table {table}", row))
    return row


class Rows:
    """All that was told, by table."""

    def __init__(self):
        self.tables = collections.defaultdict(list)

    def judge(self, table, row, outcome, why=""):
        """`outcome` is the test's. Rows without a verdict of their own get its."""
        words = {"passed": "held", "skipped": f"skipped: {why}", "failed": "NOT held"}
        if table == "security" and (outcome != "passed" or not row.get("verdict")):
            row["verdict"] = words[outcome]
        self.tables[table].append(row)

    def save(self, folder):
        for table, rows in self.tables.items():
            with open(pathlib.Path(folder) / table, "a") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)

    def load(self, folder):
        for file in sorted(pathlib.Path(folder).iterdir()):
            self.tables[file.name] += map(json.loads, file.read_text().splitlines())

    def show(self, folder, say):
        """Prints each table and leaves it in the folder, as NAME.txt and NAME.json."""
        for table, rows in sorted(self.tables.items()):
            rows = merge(sorted(rows, key=ORDER[table])) if table in ORDER else rows
            text = layout(COLUMNS[table], rows)
            say(f"\n{table}:\n{text}")
            (folder / f"{table}.txt").write_text(text + "\n")
            (folder / f"{table}.json").write_text(json.dumps(rows, indent=1))


def merge(rows):
    """One row of what several cases of a parametrized test told; the worst verdict is all theirs."""
    found = {}
    for row in rows:
        before = found.setdefault((row["requirement"], row["test"]), row)
        if before is not row:
            worst = max(before["verdict"], row["verdict"], key=lambda verdict: ("held", "skipped", "NOT held").index(verdict.partition(":")[0]))
            before.update(cases=before["cases"] + row["cases"], verdict=worst)
    return list(found.values())


def layout(columns, rows):
    lines = [columns] + [[str(row.get(c, "")) for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


class Collector:
    """Where the reports arrive: the first process of a pytest run."""

    def __init__(self):
        self.rows = Rows()
        self.outcomes = {}

    def pytest_runtest_logreport(self, report):
        before = self.outcomes.get(report.nodeid, ("passed", ""))
        now = (report.outcome, str(report.longrepr[2]) if report.skipped and isinstance(report.longrepr, tuple) else "")
        worst = max(before, now, key=lambda it: ("passed", "skipped", "failed").index(it[0]))
        self.outcomes[report.nodeid] = worst
        if report.when == "teardown":
            for name, row in report.user_properties:
                if name.startswith("table "):
                    self.rows.judge(name.removeprefix("table "), row, worst[0], worst[1].removeprefix("Skipped: "))

    def pytest_terminal_summary(self, terminalreporter):
        if folder := os.environ.get("TEST_TABLES"):
            self.rows.save(folder)
            return
        from harness.windlass import BUILD

        self.rows.show(BUILD.parent, terminalreporter.write_line)


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Collector())


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    global running
    running = item
    yield
    running = None
