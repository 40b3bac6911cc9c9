-- SPDX-License-Identifier: Apache-2.0
-- Limits on what is handed out, and turns among the keys of a queue. Who has none pays nothing: an index that holds only jobs with
-- a fair key, columns that stay empty.

-- What the definitions file says (origin 0) and what an operator says in its stead (1). NULL: nothing; 0: no limit.
CREATE TABLE windlass.limits (
	kind smallint NOT NULL,                   -- 0 of a queue, 1 of a type
	name text NOT NULL,
	origin smallint NOT NULL,
	concurrency bigint,
	rate double precision,                    -- a second
	key_concurrency bigint,
	key_rate double precision,
	fair boolean,
	weights text,                             -- JSON
	PRIMARY KEY (kind, name, origin)
);

CREATE VIEW windlass.limits_in_force AS
SELECT kind, name, coalesce(s.concurrency, f.concurrency, 0) AS concurrency, coalesce(s.rate, f.rate, 0) AS rate,
	coalesce(s.key_concurrency, f.key_concurrency, 0) AS key_concurrency, coalesce(s.key_rate, f.key_rate, 0) AS key_rate,
	coalesce(s.fair, f.fair, false) AS fair, coalesce(s.weights, f.weights) AS weights
FROM (SELECT * FROM windlass.limits WHERE origin = 0) f FULL JOIN (SELECT * FROM windlass.limits WHERE origin = 1) s USING (kind, name);

-- Up to when what was handed out of a rate is paid for (limits.h), in microseconds since 1970; key '': of the whole.
CREATE TABLE windlass.limit_rate (
	key text NOT NULL,
	kind smallint NOT NULL,
	name text NOT NULL,
	paid bigint NOT NULL,
	PRIMARY KEY (key, kind, name)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- 1: something limits what is handed out of it; 2: and each of its keys waits by itself.
ALTER TABLE windlass.queue ADD COLUMN managed smallint NOT NULL DEFAULT 0;
CREATE INDEX queue_managed ON windlass.queue (name) WHERE managed > 0;

CREATE INDEX ready_fair ON windlass.ready (queue, priority, fair_key, seq) WHERE due IS NULL AND fair_key IS NOT NULL;

-- What of which limits the lease's jobs hold: a line each.
ALTER TABLE windlass.lease ADD COLUMN slots text;
CREATE INDEX lease_slots ON windlass.lease (batch) WHERE slots IS NOT NULL;

-- Which queues are managed, after a change of limits or of types.
CREATE FUNCTION windlass.manage_queues() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO windlass.queue (name) SELECT name FROM windlass.limits_in_force WHERE kind = 0 ORDER BY name ON CONFLICT DO NOTHING;
	UPDATE windlass.queue q SET managed = w.managed FROM (SELECT n.name, CASE
			WHEN coalesce(l.fair OR l.key_concurrency > 0 OR l.key_rate > 0, false) THEN 2
			WHEN coalesce(l.concurrency > 0 OR l.rate > 0, false) OR EXISTS (SELECT FROM windlass.job_type t
				JOIN windlass.limits_in_force x ON x.kind = 1 AND x.name = t.name
				WHERE t.queue = n.name AND (x.concurrency > 0 OR x.rate > 0)) THEN 1
			ELSE 0 END AS managed
		FROM windlass.queue n LEFT JOIN windlass.limits_in_force l ON l.kind = 0 AND l.name = n.name) w
	WHERE w.name = q.name AND q.managed <> w.managed;
END $$;
