ALTER TABLE events ADD COLUMN known_since timestamptz NOT NULL DEFAULT now(); -- orders an organizer's list
CREATE INDEX events_of_organizer ON events (organizer_id, known_since, id);

ALTER TABLE event_sales
    ADD COLUMN refunds           bigint NOT NULL DEFAULT 0,
    ADD COLUMN tickets_cancelled bigint NOT NULL DEFAULT 0;

ALTER TABLE ticket_type_sales
    ADD COLUMN checked_in bigint NOT NULL DEFAULT 0,
    ADD COLUMN refunded   bigint NOT NULL DEFAULT 0; -- tickets cancelled for a refund

-- In the currency of event_sales.
CREATE TABLE hourly_sales (
    event_id      uuid        NOT NULL REFERENCES event_sales,
    hour          timestamptz NOT NULL, -- when the hour begins
    tickets       bigint      NOT NULL,
    revenue_minor bigint      NOT NULL,
    checked_in    bigint      NOT NULL,
    PRIMARY KEY (event_id, hour)
);

---- create above / drop below ----

DROP TABLE hourly_sales;
ALTER TABLE ticket_type_sales DROP COLUMN refunded, DROP COLUMN checked_in;
ALTER TABLE event_sales DROP COLUMN tickets_cancelled, DROP COLUMN refunds;
DROP INDEX events_of_organizer;
ALTER TABLE events DROP COLUMN known_since;
