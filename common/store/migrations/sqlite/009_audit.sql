-- SPDX-License-Identifier: Apache-2.0
-- Who changed what while it ran: rows are written in the transaction of the change.

CREATE TABLE windlass_audit (
	n INTEGER PRIMARY KEY AUTOINCREMENT,
	at INTEGER NOT NULL,
	who TEXT NOT NULL,
	action TEXT NOT NULL,
	object TEXT NOT NULL,
	detail TEXT
);
CREATE INDEX windlass_audit_object ON windlass_audit (object, n);
