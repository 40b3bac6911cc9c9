# SPDX-License-Identifier: Apache-2.0
"""pytest plugin of tests/run: one line a test while it goes; the counts, and which tests may be run again, in the file TEST_REPORT names."""

import json
import os
import pathlib


class Progress:
    def __init__(self):
        self.outcome = {}  # test id -> the worst of setup, call and teardown
        self.seconds = {}
        self.final = set()  # those that no second run may excuse: a guarantee did not hold

    def pytest_runtest_logreport(self, report):
        rank = ("passed", "skipped", "failed")
        before = self.outcome.get(report.nodeid, "passed")
        self.outcome[report.nodeid] = max(before, report.outcome, key=rank.index)
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        if report.failed and "oracle.Breach" in report.longreprtext:
            self.final.add(report.nodeid)
        if report.when == "teardown":
            word = {"passed": "ok", "skipped": "skip", "failed": "FAIL"}[self.outcome[report.nodeid]]
            print(f"\r{word:4} {report.nodeid}  {self.seconds[report.nodeid]:.2f} s", flush=True)

    def pytest_collectreport(self, report):
        if report.failed:
            self.outcome[report.nodeid] = "failed"
            print(f"\rFAIL {report.nodeid}  (collection)", flush=True)

    def pytest_report_teststatus(self, report):
        return report.outcome, "", report.outcome.upper()  # no dots

    def pytest_sessionfinish(self):
        outcomes = list(self.outcome.values())
        counts = {word: outcomes.count(word) for word in ("passed", "failed", "skipped")}
        counts["again"] = [test for test in self.seconds if self.outcome[test] == "failed" and test not in self.final]
        pathlib.Path(os.environ["TEST_REPORT"]).write_text(json.dumps(counts))


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # one of several processes of this run: the first one counts for all
        config.pluginmanager.register(Progress())
