-- SPDX-License-Identifier: Apache-2.0
-- Jobs that travel by a broker: leases that belong to one, jobs that came from one, results that go to one, and the order of keys.

-- Of a foreign job that completed there is only this row, and what it was.
ALTER TABLE windlass_done ADD COLUMN type TEXT;
ALTER TABLE windlass_done ADD COLUMN source TEXT;

-- until and queue: the lease is a broker's, which has no session; it holds jobs of one queue.
ALTER TABLE windlass_lease ADD COLUMN queue TEXT;

-- The payload came by a broker and was not validated at acceptance.
ALTER TABLE windlass_jobs ADD COLUMN unchecked INTEGER NOT NULL DEFAULT 0;

-- order_key: only of jobs that an ordered queue hands out one after the other; then seq is that of windlass_jobs, whatever befalls them.
ALTER TABLE windlass_ready ADD COLUMN order_key TEXT;
CREATE INDEX windlass_ready_key ON windlass_ready (queue, order_key, seq) WHERE order_key IS NOT NULL;
ALTER TABLE windlass_queue ADD COLUMN ordered INTEGER NOT NULL DEFAULT 0;

-- Keys of which a job is handed out.
CREATE TABLE windlass_order_open (
	queue TEXT NOT NULL,
	key TEXT NOT NULL,
	id BLOB NOT NULL UNIQUE,
	PRIMARY KEY (queue, key)
) WITHOUT ROWID;

CREATE TABLE windlass_outbox (
	n INTEGER PRIMARY KEY AUTOINCREMENT,
	id BLOB NOT NULL,
	type TEXT NOT NULL,
	topic TEXT NOT NULL,
	exchange TEXT,
	key TEXT NOT NULL,
	result TEXT,
	traceparent TEXT,
	finished INTEGER NOT NULL
);

-- Who relays the outbox.
CREATE TABLE windlass_relay (
	one INTEGER PRIMARY KEY CHECK (one = 1),
	holder BLOB NOT NULL,
	until INTEGER NOT NULL
);

-- Up to where a log's messages have their ends in this file. In one with an older state they are further back.
CREATE TABLE windlass_position (
	consumers TEXT NOT NULL,
	topic TEXT NOT NULL,
	part INTEGER NOT NULL,
	offset INTEGER NOT NULL,
	PRIMARY KEY (consumers, topic, part)
) WITHOUT ROWID;

DROP VIEW windlass_job_states;
CREATE VIEW windlass_job_states (job_id, state, attempts, reason) AS
WITH RECURSIVE sent(id, ids, n) AS (
	SELECT substr(ids, 1, 16), ids, 1 FROM windlass_lease WHERE until IS NOT NULL AND length(ids) > 0
	UNION ALL SELECT substr(ids, n * 16 + 1, 16), ids, n + 1 FROM sent WHERE n * 16 < length(ids)
), known AS (
	SELECT id FROM windlass_jobs UNION SELECT id FROM windlass_done
)
SELECT lower(substr(hex(k.id), 1, 8) || '-' || substr(hex(k.id), 9, 4) || '-' || substr(hex(k.id), 13, 4) || '-' ||
		substr(hex(k.id), 17, 4) || '-' || substr(hex(k.id), 21)),
	CASE WHEN d.id IS NOT NULL THEN CASE d.state WHEN 8 THEN 'completed' WHEN 9 THEN 'discarded' ELSE 'cancelled' END
		WHEN r.id IS NULL THEN CASE WHEN k.id IN (SELECT id FROM sent) THEN 'queued' ELSE 'running' END
		WHEN r.due IS NULL THEN 'available'
		WHEN r.attempt = 0 THEN 'scheduled'
		ELSE 'retryable' END,
	coalesce(d.attempt, r.attempt),
	coalesce(d.reason, (SELECT a.reason FROM windlass_attempt a WHERE a.id = k.id AND a.outcome <> 0
		ORDER BY a.entry DESC LIMIT 1))
FROM known k
LEFT JOIN windlass_done d ON d.id = k.id
LEFT JOIN windlass_ready r ON r.id = k.id;
