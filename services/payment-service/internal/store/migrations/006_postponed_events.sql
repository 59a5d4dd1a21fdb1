-- Events that take place later than their tickets said, and until when buyers may have their money back.
CREATE TABLE postponed_events (
    event_id     uuid        PRIMARY KEY,
    updated_at   timestamptz NOT NULL, -- event-service's: what is not newer is stale
    postponed_at timestamptz NOT NULL DEFAULT now(), -- who buys after that knows the date
    closes_at    timestamptz NOT NULL
);

---- create above / drop below ----

DROP TABLE postponed_events;
