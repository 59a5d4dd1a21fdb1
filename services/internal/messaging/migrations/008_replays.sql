-- Requests of admins to publish events again, for consumers that lost them.
CREATE TABLE replays (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    topic        text        NOT NULL,
    since        timestamptz NOT NULL,                     -- events that were added from then on
    until        timestamptz NOT NULL,                     -- and before
    events       integer     NOT NULL DEFAULT 0,           -- how many were marked for publication
    reached      timestamptz NOT NULL DEFAULT '-infinity', -- events published earlier have been considered
    created_at   timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz
);
CREATE INDEX replays_running ON replays (created_at, id) WHERE completed_at IS NULL;

-- When an event was last marked for publication by a replay.
ALTER TABLE outbox ADD COLUMN replayed_at timestamptz;

---- create above / drop below ----

ALTER TABLE outbox DROP COLUMN replayed_at;
DROP TABLE replays;
