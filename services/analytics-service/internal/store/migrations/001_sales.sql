-- What is known of each event. A sale may be heard of before its event, so nothing refers to this table.
CREATE TABLE events (
    id           uuid        PRIMARY KEY,
    organizer_id uuid        NOT NULL,
    name         text        NOT NULL,
    status       text        NOT NULL,
    updated_at   timestamptz NOT NULL -- event-service's: what is not later than it is stale
);

CREATE TABLE event_sales (
    event_id          uuid   PRIMARY KEY,
    currency          text,  -- null before any money moved
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
