-- SPDX-License-Identifier: Apache-2.0
-- What has moved since a moment, for those who watch and were away: new entries always go to the end of these.

CREATE INDEX windlass_done_finished ON windlass_done (finished);
CREATE INDEX windlass_attempt_at ON windlass_attempt (at);
