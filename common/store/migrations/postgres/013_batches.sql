-- SPDX-License-Identifier: Apache-2.0
-- Batch runs: a job of every row of a source. The row of a batch is changed once a chunk of jobs, in the transaction that stores
-- them, which makes its position exact; what became of the jobs is appended to batch_tally and folded.

-- The batch that a job belongs to. Jobs of none are not in the index, and their rows are not longer.
ALTER TABLE windlass.jobs ADD COLUMN batch uuid;
CREATE INDEX jobs_batch ON windlass.jobs (batch, id) WHERE batch IS NOT NULL;

CREATE TABLE windlass.batch (
	id uuid NOT NULL PRIMARY KEY,
	created timestamptz NOT NULL,
	finished timestamptz,
	state smallint NOT NULL,                  -- 1 feeding, 2 running, 3 completed, 4 failed, 5 cancelled
	tenant text NOT NULL,
	owner text NOT NULL,
	queue text NOT NULL,
	type text NOT NULL,
	name text,
	definition text NOT NULL,                 -- JSON
	schedule text,
	tick timestamptz,
	position text,                            -- up to where the source has become jobs
	pushed boolean NOT NULL,                  -- requests bring its rows
	total bigint NOT NULL DEFAULT 0,          -- jobs
	rejected bigint NOT NULL DEFAULT 0,       -- rows that could not become jobs
	error text,
	round integer NOT NULL DEFAULT 0,         -- how often its failed jobs were retried
	feeder uuid,                              -- who reads the source, until when
	feeder_until timestamptz,
	sweep uuid                                -- cancelled: jobs up to this one have been told
);
CREATE UNIQUE INDEX batch_tick ON windlass.batch (schedule, tick) WHERE schedule IS NOT NULL;
CREATE INDEX batch_open ON windlass.batch (id) WHERE state < 3 OR sweep IS NOT NULL;

CREATE TABLE windlass.batch_tally (
	batch uuid NOT NULL,
	done bigint NOT NULL,
	failed bigint NOT NULL,
	cancelled bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
