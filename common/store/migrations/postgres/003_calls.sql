-- SPDX-License-Identifier: Apache-2.0
-- Calls whose fate is unknown. In windlass.call a status of 0 is an intent: the call was about to be sent, and what came of it is
-- not known; -1: it is known that it was not sent. Either is overwritten, an answer is not. A job that waits for a person to
-- decide about such a call is parked: due is infinity.

CREATE OR REPLACE VIEW windlass.job_states AS
SELECT j.id AS job_id,
	CASE WHEN d.id IS NOT NULL THEN
		CASE d.state WHEN 8 THEN 'completed' WHEN 9 THEN 'discarded' ELSE 'cancelled' END
	WHEN r.id IS NOT NULL THEN
		CASE WHEN r.due IS NULL THEN 'available' WHEN r.due = 'infinity' THEN 'parked' WHEN r.attempt = 0 THEN 'scheduled' ELSE 'retryable' END
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
