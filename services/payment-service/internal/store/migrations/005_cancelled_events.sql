-- Cancelled events. Their orders are refunded in batches, in the order of their ids.
CREATE TABLE event_refunds (
    event_id       uuid        PRIMARY KEY,
    last_order_id  uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', -- the last one processed
    done           boolean     NOT NULL DEFAULT false,
    correlation_id text        NOT NULL,
    traceparent    text        NOT NULL,
    heard_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX event_refunds_unfinished ON event_refunds (heard_at) WHERE NOT done;
CREATE INDEX orders_event ON orders (event_id, id);

---- create above / drop below ----

DROP INDEX orders_event;
DROP TABLE event_refunds;
