-- SPDX-License-Identifier: Apache-2.0
-- Whether a worker takes its jobs from a broker: a dispatcher sends nothing while nobody does. Workers of before say nothing,
-- and are counted as they were.

ALTER TABLE windlass_session ADD COLUMN broker INTEGER NOT NULL DEFAULT 1;
