-- SPDX-License-Identifier: Apache-2.0
-- Brokers: leases that stand for a broker, jobs that came as messages of others, results on their way out, positions in logs,
-- and queues in which the jobs of a key run one after the other. Whoever has no broker pays nothing for any of it.

-- A job that came as a message of somebody else and completed at once leaves only this row: then these are set.
ALTER TABLE windlass.done ADD COLUMN type text, ADD COLUMN source text;

-- A broker's lease (until is set) holds jobs of one queue.
ALTER TABLE windlass.lease ADD COLUMN queue text;
CREATE INDEX lease_until ON windlass.lease (until) WHERE until IS NOT NULL;

-- ---- order: key

ALTER TABLE windlass.queue ADD COLUMN ordered boolean NOT NULL DEFAULT false;
CREATE INDEX ready_order ON windlass.ready (queue, order_key, seq) WHERE order_key IS NOT NULL;

-- The job of each key that is handed out, in ordered queues. Inserted at the hand-out, removed when it ends or goes back.
CREATE TABLE windlass.order_open (
	queue text NOT NULL,
	key text NOT NULL,
	id uuid NOT NULL,
	PRIMARY KEY (queue, key)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX order_open_id ON windlass.order_open (id);

-- ---- results on their way to a broker

CREATE TABLE windlass.outbox (
	n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id uuid NOT NULL,
	type text NOT NULL,
	topic text NOT NULL,
	exchange text,
	key text NOT NULL,
	result text,
	traceparent text,
	finished timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

-- Who relays them: one process at a time.
CREATE TABLE windlass.outbox_hold (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	holder uuid NOT NULL,
	until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- ---- positions in logs: the newest row of a partition counts, maintenance removes the others

CREATE TABLE windlass.source_position (
	consumer text NOT NULL,
	topic text NOT NULL,
	part integer NOT NULL,
	n bigint GENERATED ALWAYS AS IDENTITY,
	place bigint NOT NULL,
	PRIMARY KEY (consumer, topic, part, n)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

-- ---- what was there, for foreign and queued jobs too

-- As before; completed foreign jobs, which have no row of jobs, stay for as long as others.
CREATE OR REPLACE FUNCTION windlass.drop_day(day date, keep interval, keep_dead interval) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	low uuid := windlass.day_floor(day);
	high uuid := windlass.day_floor(day + 1);
	parent text;
	child text;
	stay bigint;
BEGIN
	CREATE TEMPORARY TABLE kept (id uuid PRIMARY KEY) ON COMMIT DROP;
	INSERT INTO kept SELECT j.id FROM windlass.jobs j LEFT JOIN windlass.done d ON d.id = j.id AND d.id >= low AND d.id < high
		WHERE j.id >= low AND j.id < high
		AND (d.id IS NULL OR d.finished > now() - CASE WHEN d.state = 8 THEN keep ELSE keep_dead END);
	INSERT INTO kept SELECT d.id FROM windlass.done d WHERE d.id >= low AND d.id < high AND d.source IS NOT NULL
		AND d.finished > now() - keep ON CONFLICT DO NOTHING;
	SELECT count(*) INTO stay FROM kept;
	IF stay > 20000 THEN
		RETURN -1;
	END IF;
	LOCK TABLE windlass.jobs, windlass.done, windlass.attempt, windlass.step, windlass.call IN ACCESS EXCLUSIVE MODE;
	INSERT INTO kept SELECT r.id FROM windlass.ready r WHERE r.id >= low AND r.id < high ON CONFLICT DO NOTHING;
	INSERT INTO kept SELECT u FROM windlass.lease l CROSS JOIN LATERAL unnest(l.ids) AS u WHERE u >= low AND u < high
		ON CONFLICT DO NOTHING;
	FOREACH parent IN ARRAY '{jobs,done,attempt,step,call}'::text[] LOOP
		child := parent || to_char(day, '_YYYYMMDD');
		CONTINUE WHEN to_regclass('windlass.' || child) IS NULL;
		EXECUTE format('ALTER TABLE windlass.%I DETACH PARTITION windlass.%I', parent, child);
		EXECUTE format('INSERT INTO windlass.%I SELECT c.* FROM windlass.%I c JOIN kept k ON k.id = c.id', parent, child);
		EXECUTE format('DROP TABLE windlass.%I', child);
	END LOOP;
	RETURN stay;
END $$;

CREATE OR REPLACE VIEW windlass.job_states AS
SELECT j.id AS job_id,
	CASE WHEN d.id IS NOT NULL THEN
		CASE d.state WHEN 8 THEN 'completed' WHEN 9 THEN 'discarded' ELSE 'cancelled' END
	WHEN r.id IS NOT NULL THEN
		CASE WHEN r.due IS NULL THEN 'available' WHEN r.attempt = 0 THEN 'scheduled' ELSE 'retryable' END
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
