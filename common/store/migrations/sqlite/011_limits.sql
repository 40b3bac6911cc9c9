-- SPDX-License-Identifier: Apache-2.0
-- Limits on what is handed out, and turns among the keys of a queue.

-- What the definitions file says (origin 0) and what an operator says in its stead (1). NULL: nothing; 0: no limit. kind: 0 of a
-- queue, 1 of a type. Rates are a second.
CREATE TABLE windlass_limits (
	kind INTEGER NOT NULL,
	name TEXT NOT NULL,
	origin INTEGER NOT NULL,
	concurrency INTEGER,
	rate REAL,
	key_concurrency INTEGER,
	key_rate REAL,
	fair INTEGER,
	weights TEXT,
	PRIMARY KEY (kind, name, origin)
) WITHOUT ROWID;

CREATE VIEW windlass_limits_in_force AS
SELECT n.kind AS kind, n.name AS name, coalesce(s.concurrency, f.concurrency, 0) AS concurrency, coalesce(s.rate, f.rate, 0) AS rate,
	coalesce(s.key_concurrency, f.key_concurrency, 0) AS key_concurrency, coalesce(s.key_rate, f.key_rate, 0) AS key_rate,
	coalesce(s.fair, f.fair, 0) AS fair, coalesce(s.weights, f.weights) AS weights
FROM (SELECT DISTINCT kind, name FROM windlass_limits) n
LEFT JOIN windlass_limits f ON f.kind = n.kind AND f.name = n.name AND f.origin = 0
LEFT JOIN windlass_limits s ON s.kind = n.kind AND s.name = n.name AND s.origin = 1;

-- Up to when what was handed out of a rate is paid for (limits.h), in microseconds since 1970; key '': of the whole.
CREATE TABLE windlass_limit_rate (
	key TEXT NOT NULL,
	kind INTEGER NOT NULL,
	name TEXT NOT NULL,
	paid INTEGER NOT NULL,
	PRIMARY KEY (key, kind, name)
) WITHOUT ROWID;

-- 1: something limits what is handed out of it; 2: and each of its keys waits by itself.
ALTER TABLE windlass_queue ADD COLUMN managed INTEGER NOT NULL DEFAULT 0;

ALTER TABLE windlass_ready ADD COLUMN fair_key TEXT;
UPDATE windlass_ready SET fair_key = (SELECT j.fair_key FROM windlass_jobs j WHERE j.id = windlass_ready.id);
CREATE INDEX windlass_ready_fair ON windlass_ready (queue, priority, fair_key, seq) WHERE due IS NULL AND fair_key IS NOT NULL;

-- What of which limits the lease's jobs hold: a line each.
ALTER TABLE windlass_lease ADD COLUMN slots TEXT;
CREATE INDEX windlass_lease_slots ON windlass_lease (batch) WHERE slots IS NOT NULL;
