-- Cancelled events, with the progress of cancelling their tickets.
CREATE TABLE event_cancellations (
    event_id          uuid        PRIMARY KEY REFERENCES events,
    reason            text        NOT NULL,
    correlation_id    text        NOT NULL, -- of EVENT_CANCELLED; copied to each TICKET_CANCELLED
    tickets_cancelled integer     NOT NULL DEFAULT 0,
    started_at        timestamptz NOT NULL DEFAULT now(),
    finished_at       timestamptz           -- null while tickets may remain
);
CREATE INDEX event_cancellations_left ON event_cancellations (started_at) WHERE finished_at IS NULL;
CREATE INDEX reservations_live ON reservations (event_id) WHERE status = 'ACTIVE';
CREATE INDEX tickets_valid ON tickets (event_id, id) WHERE status = 'ACTIVE';

---- create above / drop below ----

DROP INDEX tickets_valid;
DROP INDEX reservations_live;
DROP TABLE event_cancellations;
