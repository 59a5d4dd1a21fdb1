-- Copies of events. A sale may arrive before its event, so no table refers to this one.
CREATE TABLE events (
    id           uuid        PRIMARY KEY,
    organizer_id uuid        NOT NULL,
    name         text        NOT NULL,
    status       text        NOT NULL,
    updated_at   timestamptz NOT NULL -- as event-service reports it; a version that is not later is stale
);

CREATE TABLE event_sales (
    event_id          uuid   PRIMARY KEY,
    currency          text,  -- null before the first order or refund
    orders_completed  bigint NOT NULL,
    orders_failed     bigint NOT NULL,
    tickets_generated bigint NOT NULL,
    refunded_minor    bigint NOT NULL
);

-- In the currency of event_sales.
CREATE TABLE ticket_type_sales (
    event_id       uuid   NOT NULL REFERENCES event_sales,
    ticket_type_id uuid   NOT NULL,
    tickets        bigint NOT NULL,
    revenue_minor  bigint NOT NULL,
    PRIMARY KEY (event_id, ticket_type_id)
);

---- create above / drop below ----

DROP TABLE ticket_type_sales;
DROP TABLE event_sales;
DROP TABLE events;
