-- SPDX-License-Identifier: Apache-2.0
-- Pools of workers: the counts that are wanted beside the definitions file, whose turn it is to decide, and what workers say of themselves.

-- node '': all that have no row of their own; NULL: as the file says.
CREATE TABLE windlass_pool (
	pool TEXT NOT NULL,
	node TEXT NOT NULL,
	workers INTEGER,
	hosts INTEGER,
	who TEXT NOT NULL,
	at INTEGER NOT NULL,
	PRIMARY KEY (pool, node)
) WITHOUT ROWID;

CREATE TABLE windlass_pool_turn (
	pool TEXT PRIMARY KEY,
	at INTEGER NOT NULL,
	calm INTEGER
) WITHOUT ROWID;

ALTER TABLE windlass_session ADD COLUMN pool TEXT NOT NULL DEFAULT '';
ALTER TABLE windlass_session ADD COLUMN node TEXT NOT NULL DEFAULT '';
ALTER TABLE windlass_session ADD COLUMN hosts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE windlass_session ADD COLUMN busy INTEGER NOT NULL DEFAULT 0;
ALTER TABLE windlass_session ADD COLUMN rate REAL NOT NULL DEFAULT 0;
ALTER TABLE windlass_session ADD COLUMN leaving INTEGER NOT NULL DEFAULT 0;
