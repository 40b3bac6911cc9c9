-- SPDX-License-Identifier: Apache-2.0
-- Webhooks: the address that is told how a job ended, the hooks of its type, and addresses that do not want to be told any more.

ALTER TABLE windlass.jobs ADD COLUMN callback text;

-- [["https://…", ends], …], a bit 1 << state an end; NULL: none.
ALTER TABLE windlass.job_type ADD COLUMN hooks text;

-- Addresses that answered 410.
CREATE TABLE windlass.endpoint_disabled (
	url text NOT NULL PRIMARY KEY,
	since timestamptz NOT NULL,
	job uuid NOT NULL
);

-- ---- jobs from SQL

-- As before; and callback_url. Plain http is judged where it is called.
CREATE OR REPLACE FUNCTION windlass.check_option(name text, value jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
	SELECT coalesce(CASE
		WHEN name = 'queue' THEN kind = 'string' AND word ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$' AND word !~ '^windlass\.'
		WHEN name = 'tenant' THEN kind = 'string' AND word ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'
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
		WHEN name = 'callback_url' THEN kind = 'string' AND octet_length(word) <= 2000
			AND word ~ '^https?://[^/?:@#][^/?@#]*([/?][!$-;=?-\[\]_a-z~]*)?$' AND word !~ '[^\x21-\x7e]'
		END, false)
	FROM (SELECT value #>> '{}' AS word, jsonb_typeof(value) AS kind) AS given
$$;

CREATE OR REPLACE FUNCTION windlass.check_enqueue(type text, opts jsonb) RETURNS void LANGUAGE plpgsql STABLE AS $$
DECLARE
	wrong text;
BEGIN
	IF type ~ '^windlass\.' THEN
		RAISE EXCEPTION 'types that begin with windlass. are Windlass''s own: %', type
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF NOT EXISTS (SELECT FROM windlass.job_type t WHERE t.name = check_enqueue.type) THEN
		RAISE EXCEPTION 'unknown job type: %', type USING ERRCODE = 'invalid_parameter_value',
			HINT = 'Types are registered by the workers that know them.';
	END IF;
	IF jsonb_typeof(opts) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION 'opts must be an object' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	SELECT min(k) INTO wrong FROM jsonb_object_keys(opts) AS k WHERE k <> ALL ('{queue,priority,delay,run_at,max_attempts,
		timeout,tags,order_key,fair_key,tenant,callback_url}'::text[]);
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION 'unknown option: %', wrong USING ERRCODE = 'invalid_parameter_value';
	END IF;
	SELECT min(k) INTO wrong FROM jsonb_each(opts) AS o(k, v) WHERE NOT windlass.check_option(k, v);
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION 'bad value of option %: %', wrong, opts -> wrong USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF opts ? 'callback_url' AND NOT EXISTS (SELECT FROM windlass.job_type t WHERE t.name = 'windlass.webhook') THEN
		RAISE EXCEPTION 'there are no webhooks here: callback_url' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'Set WINDLASS_WEBHOOK_SECRET, which signs them, for the gateway and the workers.';
	END IF;
END $$;

-- Options: queue, priority, delay, run_at, max_attempts, timeout, tags, order_key, fair_key, tenant, callback_url. The payload is
-- checked by the worker that takes the job.
CREATE OR REPLACE FUNCTION windlass.enqueue(type text, payload jsonb DEFAULT '{}', opts jsonb DEFAULT '{}') RETURNS uuid
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
		payload, tags, order_key, fair_key, callback)
	VALUES (new_id, new_seq, now(), CASE WHEN opts ? 'timeout' THEN windlass.duration_ms(opts -> 'timeout') END,
		(opts ->> 'max_attempts')::integer, rank, true, coalesce(opts ->> 'tenant', ''), 'sql', in_queue, type,
		payload::text, (opts -> 'tags')::text, opts ->> 'order_key', opts ->> 'fair_key', opts ->> 'callback_url');
	INSERT INTO windlass.ready (id, seq, due, since, priority, queue, order_key, fair_key)
	VALUES (new_id, new_seq, new_due, coalesce(new_due, now()), rank, in_queue, opts ->> 'order_key', opts ->> 'fair_key');
	INSERT INTO windlass.tally VALUES (in_queue, (new_due IS NULL)::integer, (new_due IS NOT NULL)::integer);
	PERFORM pg_notify('windlass_ready', '');
	RETURN new_id;
END $$;
