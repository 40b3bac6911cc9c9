-- SPDX-License-Identifier: Apache-2.0
-- The queue's schema. Nothing on the hot path is updated: a job is one row of jobs, one of ready until it is handed out, a part
-- of a lease while it runs, and one of done when it has ended. Tables that grow with every job are partitioned by the UTC day in
-- the first 48 bits of the id (milliseconds), so that retention drops tables instead of deleting rows.

CREATE SEQUENCE windlass.job_seq AS bigint CACHE 1;
CREATE SEQUENCE windlass.history_seq AS bigint CACHE 1;

CREATE TABLE windlass.jobs (
	id uuid NOT NULL PRIMARY KEY,
	seq bigint NOT NULL,
	created timestamptz NOT NULL,
	timeout_ms bigint,
	max_attempts integer,
	priority smallint NOT NULL,
	unchecked boolean NOT NULL DEFAULT false, -- the payload has not been validated: accepted by SQL or by a broker
	tenant text NOT NULL,
	owner text NOT NULL,
	queue text NOT NULL,
	type text NOT NULL,
	payload text NOT NULL,
	tags text,
	order_key text,
	fair_key text,
	unique_key text,
	traceparent text,
	fingerprint bytea                         -- of the request, when the client made the id
) PARTITION BY RANGE (id);
CREATE TABLE windlass.jobs_default PARTITION OF windlass.jobs DEFAULT;

-- What waits. due NULL: may be taken; set: scheduled (attempt 0) or retryable. attempt counts hand-outs so far.
CREATE TABLE windlass.ready (
	id uuid NOT NULL,
	seq bigint NOT NULL DEFAULT nextval('windlass.job_seq'),
	due timestamptz,
	since timestamptz NOT NULL,               -- when it became available, or will
	attempt integer NOT NULL DEFAULT 0,
	priority smallint NOT NULL,
	queue text NOT NULL,
	order_key text,
	fair_key text
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
	autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX ready_id ON windlass.ready (id);
CREATE INDEX ready_next ON windlass.ready (queue, priority, seq) WHERE due IS NULL;
CREATE INDEX ready_due ON windlass.ready (due) WHERE due IS NOT NULL;

-- A batch in a worker's hands. It is valid while its owner's session is; until is for owners without one (brokers).
CREATE TABLE windlass.lease (
	batch uuid NOT NULL PRIMARY KEY,
	owner uuid NOT NULL,
	taken timestamptz NOT NULL,
	until timestamptz,
	ids uuid[] NOT NULL,
	attempts integer[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lease_owner ON windlass.lease (owner);
ALTER TABLE windlass.lease ALTER ids SET STORAGE EXTERNAL, ALTER attempts SET STORAGE EXTERNAL;

CREATE TABLE windlass.session (
	id uuid NOT NULL PRIMARY KEY,
	host text NOT NULL,
	pid integer NOT NULL,
	started timestamptz NOT NULL,
	until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- The fence: whoever inserts the row first has ended the job. batch and attempt say which hand-out it was, so that a
-- completion that is repeated after an unanswered COMMIT knows its own rows.
CREATE TABLE windlass.done (
	id uuid NOT NULL PRIMARY KEY,
	batch uuid,
	finished timestamptz NOT NULL,
	attempt integer NOT NULL,
	state smallint NOT NULL,                  -- 8 completed, 9 discarded, 10 cancelled
	result text,
	reason text
) PARTITION BY RANGE (id);
CREATE TABLE windlass.done_default PARTITION OF windlass.done DEFAULT;
CREATE INDEX done_bad ON windlass.done (state, id) WHERE state <> 8;

-- How attempts ended that did not complete their job. outcome 0 is a mark: 'redriven', failures are counted after the last such row;
-- 'compensated', its on_discard job was enqueued, so it never runs again.
CREATE TABLE windlass.attempt (
	id uuid NOT NULL,
	n bigint NOT NULL DEFAULT nextval('windlass.history_seq'),
	batch uuid,
	at timestamptz NOT NULL,
	attempt integer NOT NULL,
	outcome smallint NOT NULL,
	counts boolean NOT NULL,
	reason text,
	PRIMARY KEY (id, n)
) PARTITION BY RANGE (id);
CREATE TABLE windlass.attempt_default PARTITION OF windlass.attempt DEFAULT;

CREATE TABLE windlass.step (
	id uuid NOT NULL,
	at timestamptz NOT NULL,
	attempt integer NOT NULL,
	step text NOT NULL,
	value text,
	PRIMARY KEY (id, step)
) PARTITION BY RANGE (id);
CREATE TABLE windlass.step_default PARTITION OF windlass.step DEFAULT;

CREATE TABLE windlass.call (
	id uuid NOT NULL,
	at timestamptz NOT NULL,
	status integer NOT NULL,
	step text NOT NULL,
	body bytea NOT NULL,
	PRIMARY KEY (id, step)
) PARTITION BY RANGE (id);
CREATE TABLE windlass.call_default PARTITION OF windlass.call DEFAULT;

CREATE TABLE windlass.progress (
	id uuid NOT NULL PRIMARY KEY,
	attempt integer NOT NULL,
	part double precision NOT NULL,
	note text
) WITH (fillfactor = 50);

CREATE TABLE windlass.cancel (
	id uuid NOT NULL PRIMARY KEY,
	at timestamptz NOT NULL,
	reason text
);

CREATE TABLE windlass.idempotency (
	scope text NOT NULL,
	key text NOT NULL,
	created timestamptz NOT NULL,
	fingerprint bytea NOT NULL,
	ids uuid[] NOT NULL,
	PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_created ON windlass.idempotency (created);

-- until NULL: until that job has ended.
CREATE TABLE windlass.unique_key (
	tenant text NOT NULL,
	type text NOT NULL,
	key text NOT NULL,
	id uuid NOT NULL,
	until timestamptz,
	PRIMARY KEY (tenant, type, key)
);

CREATE TABLE windlass.queue (
	name text NOT NULL PRIMARY KEY,
	paused boolean NOT NULL DEFAULT false
);

CREATE TABLE windlass.job_type (
	name text NOT NULL PRIMARY KEY,
	queue text NOT NULL,
	priority smallint NOT NULL,
	on_discard text
);

-- Depth: one row per transaction and queue, folded by maintenance. Nobody updates a row, so nobody waits for one.
CREATE TABLE windlass.tally (
	queue text NOT NULL,
	available bigint NOT NULL,
	scheduled bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

-- ---- days

-- The smallest id of the day: 48 bits of milliseconds, then nothing.
CREATE FUNCTION windlass.day_floor(day date) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
	SELECT rpad(lpad(to_hex((day - date '1970-01-01')::bigint * 86400000), 12, '0'), 32, '0')::uuid
$$;

-- Makes the partition of one table for one day unless it is there. The table is made aside and attached: that holds the
-- weakest lock on the parent. False: rows of that day are in the default partition, where they stay.
CREATE FUNCTION windlass.make_day(parent text, day date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	child text := parent || to_char(day, '_YYYYMMDD');
BEGIN
	IF to_regclass('windlass.' || child) IS NOT NULL THEN
		RETURN true;
	END IF;
	EXECUTE format('CREATE TABLE windlass.%I (LIKE windlass.%I INCLUDING DEFAULTS)', child, parent);
	EXECUTE format('ALTER TABLE windlass.%I ATTACH PARTITION windlass.%I FOR VALUES FROM (%L) TO (%L)',
		parent, child, windlass.day_floor(day), windlass.day_floor(day + 1));
	RETURN true;
EXCEPTION WHEN check_violation THEN
	RETURN false;
END $$;

SELECT windlass.make_day(parent, (now() AT TIME ZONE 'UTC')::date + n)
FROM unnest('{jobs,done,attempt,step,call}'::text[]) AS parent, generate_series(-1, 2) AS n;

-- Days that are over for at least `keep` and still have a partition of their own.
CREATE FUNCTION windlass.old_days(keep interval) RETURNS SETOF date LANGUAGE sql STABLE AS $$
	SELECT DISTINCT d FROM (SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS d
		FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent IN ('windlass.jobs'::regclass, 'windlass.done'::regclass, 'windlass.attempt'::regclass,
			'windlass.step'::regclass, 'windlass.call'::regclass) AND c.relname ~ '_[0-9]{8}$') AS days
	WHERE (d + 1)::timestamp AT TIME ZONE 'UTC' <= now() - keep ORDER BY 1
$$;

-- Drops a day. What must stay goes to the default partition: jobs that have not ended, and those that ended less than keep (not
-- completed: keep_dead) ago. They are looked for before the locks are taken: no job leaves that set, and only a redriven one enters
-- it, which is then in ready or in a lease. -1: too many stay for one short transaction; then trim_day has to thin the day out.
CREATE FUNCTION windlass.drop_day(day date, keep interval, keep_dead interval) RETURNS bigint LANGUAGE plpgsql AS $$
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

-- Removes up to 5,000 jobs that ended long enough ago from one partition of done (the default one, or of a day that cannot be
-- dropped yet) and whatever belongs to them.
CREATE FUNCTION windlass.trim_day(partition text, keep interval, keep_dead interval) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	old uuid[];
BEGIN
	EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM windlass.%I WHERE finished <= now() -
		CASE WHEN state = 8 THEN $1 ELSE $2 END LIMIT 5000) AS ended', partition) INTO old USING keep, keep_dead;
	DELETE FROM windlass.attempt t USING unnest(old) AS o(id) WHERE t.id = o.id;
	DELETE FROM windlass.step t USING unnest(old) AS o(id) WHERE t.id = o.id;
	DELETE FROM windlass.call t USING unnest(old) AS o(id) WHERE t.id = o.id;
	DELETE FROM windlass.jobs t USING unnest(old) AS o(id) WHERE t.id = o.id;
	DELETE FROM windlass.done t USING unnest(old) AS o(id) WHERE t.id = o.id;
	RETURN coalesce(cardinality(old), 0);
END $$;

-- ---- for people and oracles

CREATE VIEW windlass.job_states AS
SELECT j.id AS job_id,
	CASE WHEN d.id IS NOT NULL THEN
		CASE d.state WHEN 8 THEN 'completed' WHEN 9 THEN 'discarded' ELSE 'cancelled' END
	WHEN r.id IS NULL THEN 'running'
	WHEN r.due IS NULL THEN 'available'
	WHEN r.attempt = 0 THEN 'scheduled'
	ELSE 'retryable' END AS state,
	coalesce(d.attempt, r.attempt, (SELECT l.attempts[array_position(l.ids, j.id)]
		FROM windlass.lease l WHERE j.id = ANY (l.ids) LIMIT 1)) AS attempts,
	d.reason
FROM windlass.jobs j
LEFT JOIN windlass.done d ON d.id = j.id
LEFT JOIN windlass.ready r ON r.id = j.id;

-- ---- jobs from SQL, in the caller's own transaction

CREATE FUNCTION windlass.uuid_v7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
	SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
		substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
		52, 1), 53, 1), 'hex')::uuid
$$;

-- Durations as everywhere: a number of seconds, or "250ms", "90s", "5m", "1h", "7d"; at most ten years. NULL: it is none.
CREATE FUNCTION windlass.duration_ms(given jsonb) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	part text[] := regexp_match(given #>> '{}', '^([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)?$');
	ms numeric;
BEGIN
	ms := part[1]::numeric * CASE part[2] WHEN 'ms' THEN 1 WHEN 'm' THEN 60000 WHEN 'h' THEN 3600000
		WHEN 'd' THEN 86400000 ELSE 1000 END;
	RETURN CASE WHEN ms <= 315360000000 THEN ms::bigint END;
END $$;

-- A value that the other doors would refuse as well. Nested CASEs where the order of the questions matters.
CREATE FUNCTION windlass.check_option(name text, value jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
	SELECT coalesce(CASE
		WHEN name IN ('queue', 'tenant') THEN kind = 'string' AND word ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'
		WHEN name IN ('order_key', 'fair_key') THEN kind = 'string' AND octet_length(word) BETWEEN 1 AND 255
			AND word !~ '[\x01-\x1f\x7f]'
		WHEN name = 'priority' THEN word IN ('high', 'normal', 'low')
		WHEN name = 'max_attempts' THEN kind = 'number' AND word ~ '^([1-9][0-9]{0,2}|1000)$'
		WHEN name = 'delay' THEN windlass.duration_ms(value) >= 0
		WHEN name = 'timeout' THEN windlass.duration_ms(value) BETWEEN 100 AND 604800000
		WHEN name = 'tags' THEN CASE WHEN kind = 'array' THEN jsonb_array_length(value) <= 16 AND NOT value
			@? '$[*] ? (@.type() != "string" || !(@ like_regex "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"))' END
		WHEN name = 'run_at' THEN CASE WHEN kind = 'string'
			AND word ~ '^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$'
			THEN word::timestamptz <= now() + interval '3650 days' END
		END, false)
	FROM (SELECT value #>> '{}' AS word, jsonb_typeof(value) AS kind) AS given
$$;

CREATE FUNCTION windlass.check_enqueue(type text, opts jsonb) RETURNS void LANGUAGE plpgsql STABLE AS $$
DECLARE
	wrong text;
BEGIN
	IF NOT EXISTS (SELECT FROM windlass.job_type t WHERE t.name = check_enqueue.type) THEN
		RAISE EXCEPTION 'unknown job type: %', type USING ERRCODE = 'invalid_parameter_value',
			HINT = 'Types are registered by the workers that know them.';
	END IF;
	IF jsonb_typeof(opts) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION 'opts must be an object' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	SELECT min(k) INTO wrong FROM jsonb_object_keys(opts) AS k WHERE k <> ALL ('{queue,priority,delay,run_at,max_attempts,
		timeout,tags,order_key,fair_key,tenant}'::text[]);
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION 'unknown option: %', wrong USING ERRCODE = 'invalid_parameter_value';
	END IF;
	SELECT min(k) INTO wrong FROM jsonb_each(opts) AS o(k, v) WHERE NOT windlass.check_option(k, v);
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION 'bad value of option %: %', wrong, opts -> wrong USING ERRCODE = 'invalid_parameter_value';
	END IF;
END $$;

-- Options: queue, priority, delay, run_at, max_attempts, timeout, tags, order_key, fair_key, tenant. The payload is checked by
-- the worker that takes the job.
CREATE FUNCTION windlass.enqueue(type text, payload jsonb DEFAULT '{}', opts jsonb DEFAULT '{}') RETURNS uuid
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	new_id uuid := windlass.uuid_v7();
	new_seq bigint := nextval('windlass.job_seq');
	kind windlass.job_type;
	in_queue text;
	rank smallint;
	new_due timestamptz;
BEGIN
	PERFORM windlass.check_enqueue(type, opts);
	IF payload IS NULL THEN
		RAISE EXCEPTION 'payload must not be NULL' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	SELECT t.* INTO kind FROM windlass.job_type t WHERE t.name = enqueue.type;
	in_queue := coalesce(opts ->> 'queue', kind.queue);
	rank := coalesce(array_position('{high,normal,low}'::text[], opts ->> 'priority') - 1, kind.priority);
	new_due := CASE WHEN opts ? 'delay' THEN now() + windlass.duration_ms(opts -> 'delay') * interval '1 ms'
		WHEN opts ? 'run_at' THEN (opts ->> 'run_at')::timestamptz END;
	IF new_due <= now() THEN
		new_due := NULL;
	END IF;
	INSERT INTO windlass.jobs (id, seq, created, timeout_ms, max_attempts, priority, unchecked, tenant, owner, queue, type,
		payload, tags, order_key, fair_key)
	VALUES (new_id, new_seq, now(), CASE WHEN opts ? 'timeout' THEN windlass.duration_ms(opts -> 'timeout') END,
		(opts ->> 'max_attempts')::integer, rank, true, coalesce(opts ->> 'tenant', ''), 'sql', in_queue, type,
		payload::text, (opts -> 'tags')::text, opts ->> 'order_key', opts ->> 'fair_key');
	INSERT INTO windlass.ready (id, seq, due, since, priority, queue, order_key, fair_key)
	VALUES (new_id, new_seq, new_due, coalesce(new_due, now()), rank, in_queue, opts ->> 'order_key', opts ->> 'fair_key');
	INSERT INTO windlass.tally VALUES (in_queue, (new_due IS NULL)::integer, (new_due IS NOT NULL)::integer);
	PERFORM pg_notify('windlass_ready', '');
	RETURN new_id;
END $$;
