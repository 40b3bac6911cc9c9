-- SPDX-License-Identifier: Apache-2.0
-- What a worker knows of the third parties that it calls, for people: a JSON array that it writes with its heartbeat.

ALTER TABLE windlass.session ADD COLUMN targets text;
