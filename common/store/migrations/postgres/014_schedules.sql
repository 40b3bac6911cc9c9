-- SPDX-License-Identifier: Apache-2.0
-- Schedules, and a row for each tick of one that was run: whoever inserts it stores the job. Times are Unix milliseconds by this server's clock.

CREATE TABLE windlass.schedule (
	name text PRIMARY KEY,
	tenant text NOT NULL,
	definition text NOT NULL,
	version bigint NOT NULL, -- drawn from job_seq: never the same again
	of_file boolean NOT NULL,
	paused boolean NOT NULL DEFAULT false,
	next_ms bigint, -- NULL: never
	changed timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX schedule_due ON windlass.schedule (next_ms, name) WHERE next_ms IS NOT NULL AND NOT paused;

CREATE TABLE windlass.schedule_tick (
	schedule text NOT NULL,
	tick bigint NOT NULL,
	manual boolean NOT NULL,
	at timestamptz NOT NULL DEFAULT now(),
	job uuid,
	reason text,
	PRIMARY KEY (schedule, tick, manual)
);
CREATE INDEX schedule_tick_at ON windlass.schedule_tick USING brin (at) WITH (pages_per_range = 32, autosummarize = on);
