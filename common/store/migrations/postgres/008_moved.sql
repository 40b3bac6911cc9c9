-- SPDX-License-Identifier: Apache-2.0
-- What has moved since a moment, for those who watch and were away: both tables only grow, so a summary of blocks finds it and costs an insert nothing.

CREATE INDEX done_finished ON windlass.done USING brin (finished) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX attempt_at ON windlass.attempt USING brin (at) WITH (pages_per_range = 32, autosummarize = on);
