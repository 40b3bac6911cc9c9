-- SPDX-License-Identifier: Apache-2.0
-- The queue on SQLite. Jobs and done rows are written once and never changed; ready holds only what may be handed out; a lease
-- row stands for a whole claimed batch. Ids are 16-byte blobs, times are milliseconds since 1970 on this machine's clock.
-- State numbers are those of enum job_state, outcomes those of enum job_outcome (0: a mark, a redrive, which renews the failure
-- budget, or 'compensated': the on_discard job was enqueued, and this one never runs again).

CREATE TABLE windlass_sequence (
	name TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO windlass_sequence VALUES ('seq', 0);

CREATE TABLE windlass_jobs (
	seq INTEGER PRIMARY KEY,
	id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
	tenant TEXT NOT NULL,
	owner TEXT NOT NULL,
	queue TEXT NOT NULL,
	type TEXT NOT NULL,
	payload TEXT NOT NULL,
	priority INTEGER NOT NULL,
	max_attempts INTEGER NOT NULL,
	timeout_ms INTEGER NOT NULL,
	created INTEGER NOT NULL,
	tags TEXT,
	order_key TEXT,
	fair_key TEXT,
	unique_key TEXT,
	unique_for_ms INTEGER NOT NULL,
	traceparent TEXT,
	fingerprint BLOB
);

-- due NULL: may be taken. Otherwise it waits until then: scheduled when attempt is 0, else retryable. since: when it became
-- available.
CREATE TABLE windlass_ready (
	id BLOB PRIMARY KEY,
	seq INTEGER NOT NULL,
	queue TEXT NOT NULL,
	priority INTEGER NOT NULL,
	attempt INTEGER NOT NULL,
	due INTEGER,
	since INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX windlass_ready_order ON windlass_ready (queue, priority, seq) WHERE due IS NULL;
CREATE INDEX windlass_ready_due ON windlass_ready (due) WHERE due IS NOT NULL;
CREATE INDEX windlass_ready_later ON windlass_ready (id) WHERE due IS NOT NULL;

-- ids: 16 bytes each; attempts: 4 bytes each, most significant first. A lease lives as long as its owner's session.
CREATE TABLE windlass_lease (
	batch BLOB PRIMARY KEY,
	owner BLOB NOT NULL,
	ids BLOB NOT NULL,
	attempts BLOB NOT NULL,
	taken INTEGER NOT NULL,
	until INTEGER
) WITHOUT ROWID;
CREATE INDEX windlass_lease_owner ON windlass_lease (owner);

CREATE TABLE windlass_done (
	id BLOB PRIMARY KEY,
	state INTEGER NOT NULL,
	attempt INTEGER NOT NULL,
	lease BLOB,
	result TEXT,
	reason TEXT,
	finished INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX windlass_done_dead ON windlass_done (state, id) WHERE state <> 8;

CREATE TABLE windlass_attempt (
	entry INTEGER PRIMARY KEY,
	id BLOB NOT NULL,
	attempt INTEGER NOT NULL,
	outcome INTEGER NOT NULL,
	counts INTEGER NOT NULL,
	at INTEGER NOT NULL,
	lease BLOB,
	reason TEXT
);
CREATE INDEX windlass_attempt_id ON windlass_attempt (id);

CREATE TABLE windlass_step (
	id BLOB NOT NULL,
	step TEXT NOT NULL,
	attempt INTEGER NOT NULL,
	lease BLOB,
	value TEXT,
	at INTEGER NOT NULL,
	PRIMARY KEY (id, step)
) WITHOUT ROWID;

-- Receipts: what third parties answered.
CREATE TABLE windlass_call (
	id BLOB NOT NULL,
	step TEXT NOT NULL,
	status INTEGER NOT NULL,
	body BLOB,
	at INTEGER NOT NULL,
	PRIMARY KEY (id, step)
) WITHOUT ROWID;

CREATE TABLE windlass_session (
	id BLOB PRIMARY KEY,
	host TEXT NOT NULL,
	pid INTEGER NOT NULL,
	started INTEGER NOT NULL,
	until INTEGER NOT NULL
) WITHOUT ROWID;

-- The figures are exact: there is one writer at a time, and it keeps them in the transaction that changes them.
CREATE TABLE windlass_queue (
	name TEXT PRIMARY KEY,
	paused INTEGER NOT NULL DEFAULT 0,
	available INTEGER NOT NULL DEFAULT 0,
	scheduled INTEGER NOT NULL DEFAULT 0,
	running INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- answer: 33 bytes a job: id, flags, the id that it replaced.
CREATE TABLE windlass_idempotency (
	scope TEXT NOT NULL,
	key TEXT NOT NULL,
	fingerprint BLOB NOT NULL,
	answer BLOB NOT NULL,
	created INTEGER NOT NULL,
	PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX windlass_idempotency_created ON windlass_idempotency (created);

-- until NULL: taken until the job has ended.
CREATE TABLE windlass_unique_key (
	tenant TEXT NOT NULL,
	type TEXT NOT NULL,
	key TEXT NOT NULL,
	id BLOB NOT NULL,
	until INTEGER,
	PRIMARY KEY (tenant, type, key)
) WITHOUT ROWID;
CREATE INDEX windlass_unique_key_id ON windlass_unique_key (id);

CREATE TABLE windlass_progress (
	id BLOB PRIMARY KEY,
	attempt INTEGER NOT NULL,
	part REAL NOT NULL,
	note TEXT
) WITHOUT ROWID;

-- Requests to stop running jobs.
CREATE TABLE windlass_cancel (
	id BLOB PRIMARY KEY,
	reason TEXT,
	at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE windlass_job_type (
	name TEXT PRIMARY KEY,
	queue TEXT NOT NULL,
	priority INTEGER NOT NULL,
	on_discard TEXT
) WITHOUT ROWID;

-- For people with the sqlite3 shell, and for audits.
CREATE VIEW windlass_job_states (job_id, state, attempts, reason) AS
SELECT lower(substr(hex(j.id), 1, 8) || '-' || substr(hex(j.id), 9, 4) || '-' || substr(hex(j.id), 13, 4) || '-' ||
		substr(hex(j.id), 17, 4) || '-' || substr(hex(j.id), 21)),
	CASE WHEN d.id IS NOT NULL THEN CASE d.state WHEN 8 THEN 'completed' WHEN 9 THEN 'discarded' ELSE 'cancelled' END
		WHEN r.id IS NULL THEN 'running'
		WHEN r.due IS NULL THEN 'available'
		WHEN r.attempt = 0 THEN 'scheduled'
		ELSE 'retryable' END,
	coalesce(d.attempt, r.attempt),
	coalesce(d.reason, (SELECT a.reason FROM windlass_attempt a WHERE a.id = j.id AND a.outcome <> 0
		ORDER BY a.entry DESC LIMIT 1))
FROM windlass_jobs j
LEFT JOIN windlass_done d ON d.id = j.id
LEFT JOIN windlass_ready r ON r.id = j.id;
