-- SPDX-License-Identifier: Apache-2.0
-- Secrets that the processes of one store share and nobody has set: made by the first that needs one.

CREATE TABLE windlass_secret (
	name TEXT NOT NULL PRIMARY KEY,
	value BLOB NOT NULL
) WITHOUT ROWID;
