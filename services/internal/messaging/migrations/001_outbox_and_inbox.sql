-- Events that this service wrote, each in the transaction of the change it reports.
CREATE TABLE outbox (
    position     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           uuid        NOT NULL UNIQUE, -- the CloudEvent's id, the same at every publish
    topic        text        NOT NULL,
    cloud_event  json        NOT NULL,        -- json and not jsonb: published to the letter
    created_at   timestamptz NOT NULL DEFAULT now(),
    leased_until timestamptz NOT NULL DEFAULT '-infinity', -- a relay is publishing it until then
    attempts     integer     NOT NULL DEFAULT 0,
    published_at timestamptz
);
CREATE INDEX outbox_unpublished ON outbox (position) WHERE published_at IS NULL;

-- Wakes the relay at commit. Once per statement: PostgreSQL folds equal notifications of one
-- transaction into one.
CREATE FUNCTION outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY outbox;
    RETURN NULL;
END $$;
CREATE TRIGGER outbox_notify AFTER INSERT ON outbox
    FOR EACH STATEMENT EXECUTE FUNCTION outbox_notify();

-- Events whose effect is committed here.
CREATE TABLE inbox (
    event_id     uuid        PRIMARY KEY,
    type         text        NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT now()
);

-- Events of a type or version that this service does not know: kept, since acknowledging them is the
-- end of them at the broker.
CREATE TABLE unknown_events (
    event_id    text        PRIMARY KEY,
    type        text        NOT NULL,
    body        text        NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);

---- create above / drop below ----

DROP TABLE unknown_events;
DROP TABLE inbox;
DROP TABLE outbox;
DROP FUNCTION outbox_notify();
