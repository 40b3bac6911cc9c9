-- SPDX-License-Identifier: Apache-2.0
-- Calls whose fate is unknown. In windlass_call a status of 0 is an intent: the call was about to be sent, and what came of it is
-- not known; -1: it is known that it was not sent. Either is overwritten, an answer is not. A job that waits for a person to
-- decide about such a call is parked: due is the greatest integer.

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
		WHEN r.due = 9223372036854775807 THEN 'parked'
		WHEN r.attempt = 0 THEN 'scheduled'
		ELSE 'retryable' END,
	coalesce(d.attempt, r.attempt),
	coalesce(d.reason, (SELECT a.reason FROM windlass_attempt a WHERE a.id = k.id AND a.outcome <> 0
		ORDER BY a.entry DESC LIMIT 1))
FROM known k
LEFT JOIN windlass_done d ON d.id = k.id
LEFT JOIN windlass_ready r ON r.id = k.id;
