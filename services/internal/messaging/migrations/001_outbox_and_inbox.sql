-- Events of this service, each inserted in the transaction of the change that it reports.
CREATE TABLE outbox (
    position     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           uuid        NOT NULL UNIQUE, -- the CloudEvent's id, the same for every publication
    topic        text        NOT NULL,
    cloud_event  json        NOT NULL,        -- not jsonb: it is published with its original text
    created_at   timestamptz NOT NULL DEFAULT now(),
    leased_until timestamptz NOT NULL DEFAULT '-infinity', -- until then a relay publishes it
    attempts     integer     NOT NULL DEFAULT 0,
    published_at timestamptz
);
CREATE INDEX outbox_unpublished ON outbox (position) WHERE published_at IS NULL;

-- Wakes the relay after a commit. The trigger runs for each statement; PostgreSQL merges equal notifications of one
-- transaction.
CREATE FUNCTION outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY outbox;
    RETURN NULL;
END $$;
CREATE TRIGGER outbox_notify AFTER INSERT ON outbox
    FOR EACH STATEMENT EXECUTE FUNCTION outbox_notify();

-- Events whose effect is committed in this database.
CREATE TABLE inbox (
    event_id     uuid        PRIMARY KEY,
    type         text        NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT now()
);

-- Events of types and versions that this service has no handler for. They are stored because the broker forgets
-- acknowledged events.
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
