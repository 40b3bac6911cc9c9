-- SPDX-License-Identifier: Apache-2.0
-- Pools of workers: the counts that are wanted beside the definitions file, whose turn it is to decide, and what workers say of themselves.

-- node '': all that have no row of their own; NULL: as the file says.
CREATE TABLE windlass.pool (
	pool text NOT NULL,
	node text NOT NULL,
	workers integer,
	hosts integer,
	who text NOT NULL,
	at timestamptz NOT NULL,
	PRIMARY KEY (pool, node)
);

CREATE TABLE windlass.pool_turn (
	pool text NOT NULL PRIMARY KEY,
	at timestamptz NOT NULL,
	calm timestamptz
) WITH (fillfactor = 50);

ALTER TABLE windlass.session ADD COLUMN pool text NOT NULL DEFAULT '';
ALTER TABLE windlass.session ADD COLUMN node text NOT NULL DEFAULT '';
ALTER TABLE windlass.session ADD COLUMN hosts integer NOT NULL DEFAULT 0;
ALTER TABLE windlass.session ADD COLUMN busy integer NOT NULL DEFAULT 0;
ALTER TABLE windlass.session ADD COLUMN rate double precision NOT NULL DEFAULT 0;
ALTER TABLE windlass.session ADD COLUMN leaving boolean NOT NULL DEFAULT false;
