-- SPDX-License-Identifier: Apache-2.0
-- Who changed what while it ran: rows are written in the transaction of the change.

CREATE TABLE windlass.audit (
	n bigserial PRIMARY KEY,
	at timestamptz NOT NULL DEFAULT now(),
	who text NOT NULL,
	action text NOT NULL,
	object text NOT NULL,
	detail text
);
CREATE INDEX audit_object ON windlass.audit (object, n);
