-- SPDX-License-Identifier: Apache-2.0
-- Batch runs: a job of every row of a source. There is one writer at a time, so the figures of a batch are exact in its own row.

ALTER TABLE windlass_jobs ADD COLUMN batch BLOB;
CREATE INDEX windlass_jobs_batch ON windlass_jobs (batch, id) WHERE batch IS NOT NULL;

-- pushed: requests bring its rows. state: 1 feeding, 2 running, 3 completed, 4 failed, 5 cancelled. position: up to where the source has become jobs; rejected:
-- rows that could not; round: how often its failed jobs were retried; feeder: who reads the source; sweep: cancelled, jobs up to
-- this one have been told.
CREATE TABLE windlass_batch (
	id BLOB PRIMARY KEY,
	created INTEGER NOT NULL,
	finished INTEGER,
	state INTEGER NOT NULL,
	tenant TEXT NOT NULL,
	owner TEXT NOT NULL,
	queue TEXT NOT NULL,
	type TEXT NOT NULL,
	name TEXT,
	definition TEXT NOT NULL,
	schedule TEXT,
	tick INTEGER,
	position TEXT,
	pushed INTEGER NOT NULL,
	total INTEGER NOT NULL DEFAULT 0,
	rejected INTEGER NOT NULL DEFAULT 0,
	done INTEGER NOT NULL DEFAULT 0,
	failed INTEGER NOT NULL DEFAULT 0,
	cancelled INTEGER NOT NULL DEFAULT 0,
	error TEXT,
	round INTEGER NOT NULL DEFAULT 0,
	feeder BLOB,
	feeder_until INTEGER,
	sweep BLOB
) WITHOUT ROWID;
CREATE UNIQUE INDEX windlass_batch_tick ON windlass_batch (schedule, tick) WHERE schedule IS NOT NULL;
CREATE INDEX windlass_batch_open ON windlass_batch (id) WHERE state < 3 OR sweep IS NOT NULL;
