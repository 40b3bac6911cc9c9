# SPDX-License-Identifier: Apache-2.0
"""The security checklist: each test of it tells the rows that it proves, and all are printed as one table (harness/tables.py).

    told = row("CORS", "errors carry the headers too", cases=0)
    for case in CASES:
        ...
        told["cases"] += 1

Say it before the first assertion: a test that fails turns its rows into "NOT held", one that skips into "skipped: why".
A C test prints `# table security {"area": "SSRF", "requirement": "...", "cases": 64}` on a line of its own."""

AREAS = (
    "Authn", "JWT", "Authz", "Idempotency", "CORS", "WebSocket", "gRPC/HTTP2", "HTTP/1 parsing", "Limits", "JSON", "SSRF", "libcurl use", "Header injection",
    "SQL injection", "Log injection", "Secrets", "TLS", "Payload at rest", "Process sandbox", "Webhook signing", "Unsafe consumption",
    "Supply chain", "Build flags",
)


def row(area, requirement, cases, verdict=None):
    """One row, of the running test. `cases`: how many inputs, routes or spellings were tried. The row, to be counted up."""
    from harness import tables

    assert area in AREAS, area
    name = tables.running.nodeid.rpartition("/")[2].partition("[")[0].removeprefix("test_").replace(".py::test_", "/")
    return tables.tell("security", {"area": area, "requirement": requirement, "test": name, "cases": cases, "verdict": verdict})
