-- SPDX-License-Identifier: Apache-2.0
-- Chains: jobs that wait for others. A waiting job is in ready like a parked one, due at the greatest integer, and has never been
-- handed out (attempt 0). Its edges go when it may run; those of one that was cancelled or discarded stay, for it may be retried.

-- id waits for before. on_failure: 1 discard, 2 run, 3 wait; wants: its payload refers to results; state NULL: not ended yet, as
-- far as this job has noticed.
CREATE TABLE windlass_edge (
	id BLOB NOT NULL,
	n INTEGER NOT NULL,
	before BLOB NOT NULL,
	on_failure INTEGER NOT NULL,
	wants INTEGER NOT NULL,
	state INTEGER,
	name TEXT NOT NULL,
	result TEXT,
	reason TEXT,
	PRIMARY KEY (id, n)
) WITHOUT ROWID;
CREATE INDEX windlass_edge_pending ON windlass_edge (before) WHERE state IS NULL;

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
		WHEN r.due = 9223372036854775807 THEN CASE r.attempt WHEN 0 THEN 'waiting' ELSE 'parked' END
		WHEN r.attempt = 0 THEN 'scheduled'
		ELSE 'retryable' END,
	coalesce(d.attempt, r.attempt),
	coalesce(d.reason, (SELECT a.reason FROM windlass_attempt a WHERE a.id = k.id AND a.outcome <> 0
		ORDER BY a.entry DESC LIMIT 1))
FROM known k
LEFT JOIN windlass_done d ON d.id = k.id
LEFT JOIN windlass_ready r ON r.id = k.id;
