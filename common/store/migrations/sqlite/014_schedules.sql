-- SPDX-License-Identifier: Apache-2.0
-- Schedules, and a row for each tick of one that was run: whoever inserts it stores the job. Times are Unix milliseconds.

CREATE TABLE windlass_schedule (
	name TEXT PRIMARY KEY,
	tenant TEXT NOT NULL,
	definition TEXT NOT NULL,
	version INTEGER NOT NULL, -- a sequence number: never the same again
	of_file INTEGER NOT NULL,
	paused INTEGER NOT NULL DEFAULT 0,
	next_ms INTEGER, -- NULL: never
	changed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX windlass_schedule_due ON windlass_schedule (next_ms, name) WHERE next_ms IS NOT NULL AND NOT paused;

CREATE TABLE windlass_schedule_tick (
	schedule TEXT NOT NULL,
	tick INTEGER NOT NULL,
	manual INTEGER NOT NULL,
	at INTEGER NOT NULL,
	job BLOB,
	reason TEXT,
	PRIMARY KEY (schedule, tick, manual)
) WITHOUT ROWID;
CREATE INDEX windlass_schedule_tick_at ON windlass_schedule_tick (at);
