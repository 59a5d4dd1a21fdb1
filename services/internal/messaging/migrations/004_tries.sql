-- A dead letter's event is tried again when it is archived, and by the sweeps after that, so many times.
-- Why it was refused before tells nobody anything any more: the try says it.
ALTER TABLE dead_letters ADD COLUMN tries integer NOT NULL DEFAULT 0;
DROP TABLE failed_deliveries;

---- create above / drop below ----

CREATE TABLE failed_deliveries (
    event_id  text        PRIMARY KEY,
    reason    text        NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE dead_letters DROP COLUMN tries;
