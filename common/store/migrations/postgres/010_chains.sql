-- SPDX-License-Identifier: Apache-2.0
-- Chains: jobs that wait for others. A waiting job is in ready like a parked one, due at infinity, and has never been handed out
-- (attempt 0). Its edges go when it may run; those of one that was cancelled or discarded stay, for it may be retried.

CREATE TABLE windlass.edge (
	id uuid NOT NULL,                         -- the job that waits
	before uuid NOT NULL,                     -- for this one
	n smallint NOT NULL,
	on_failure smallint NOT NULL,             -- 1 discard, 2 run, 3 wait
	wants boolean NOT NULL,                   -- its payload refers to results
	state smallint,                           -- NULL: not ended yet, as far as this job has noticed
	name text NOT NULL,
	result text,
	reason text,
	PRIMARY KEY (id, n)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX edge_pending ON windlass.edge (before) WHERE state IS NULL;

CREATE OR REPLACE VIEW windlass.job_states AS
SELECT j.id AS job_id,
	CASE WHEN d.id IS NOT NULL THEN
		CASE d.state WHEN 8 THEN 'completed' WHEN 9 THEN 'discarded' ELSE 'cancelled' END
	WHEN r.id IS NOT NULL THEN
		CASE WHEN r.due IS NULL THEN 'available'
			WHEN r.due = 'infinity' THEN CASE WHEN r.attempt = 0 THEN 'waiting' ELSE 'parked' END
			WHEN r.attempt = 0 THEN 'scheduled' ELSE 'retryable' END
	WHEN l.until IS NOT NULL AND NOT EXISTS (SELECT FROM windlass.progress p WHERE p.id = j.id AND p.attempt >= l.attempt)
		THEN 'queued'
	ELSE 'running' END AS state,
	coalesce(d.attempt, r.attempt, l.attempt) AS attempts,
	d.reason
FROM windlass.jobs j
LEFT JOIN windlass.done d ON d.id = j.id
LEFT JOIN windlass.ready r ON r.id = j.id
LEFT JOIN LATERAL (SELECT x.until, x.attempts[array_position(x.ids, j.id)] AS attempt FROM windlass.lease x
	WHERE d.id IS NULL AND r.id IS NULL AND j.id = ANY (x.ids) LIMIT 1) l ON true
UNION ALL
SELECT d.id, 'completed', d.attempt, d.reason FROM windlass.done d
WHERE d.source IS NOT NULL AND NOT EXISTS (SELECT FROM windlass.jobs j WHERE j.id = d.id);
