-- The number of attempts at the event of a dead letter. Each attempt stores its own reason, so the
-- reasons of failed deliveries are not needed any more.
ALTER TABLE dead_letters ADD COLUMN tries integer NOT NULL DEFAULT 0;
DROP TABLE failed_deliveries;

---- create above / drop below ----

CREATE TABLE failed_deliveries (
    event_id  text        PRIMARY KEY,
    reason    text        NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE dead_letters DROP COLUMN tries;
