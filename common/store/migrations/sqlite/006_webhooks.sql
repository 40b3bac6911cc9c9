-- SPDX-License-Identifier: Apache-2.0
-- Webhooks: the address that is told how a job ended, the hooks of its type, and addresses that do not want to be told any more.

ALTER TABLE windlass_jobs ADD COLUMN callback TEXT;

-- [["https://…", ends], …], a bit 1 << state an end; NULL: none.
ALTER TABLE windlass_job_type ADD COLUMN hooks TEXT;

-- Addresses that answered 410.
CREATE TABLE windlass_endpoint_disabled (
	url TEXT PRIMARY KEY,
	since INTEGER NOT NULL,
	job BLOB NOT NULL
) WITHOUT ROWID;
