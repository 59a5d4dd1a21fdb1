-- Postponed events, and until when buyers may return their tickets.
CREATE TABLE postponed_events (
    event_id     uuid        PRIMARY KEY,
    updated_at   timestamptz NOT NULL, -- event-service's time; an update that is not newer is stale
    postponed_at timestamptz NOT NULL DEFAULT now(), -- later buyers know the new date
    closes_at    timestamptz NOT NULL
);

---- create above / drop below ----

DROP TABLE postponed_events;
