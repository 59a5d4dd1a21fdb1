-- Terms of sale, set by the organizer. Null is no bound.
ALTER TABLE ticket_types
    ADD COLUMN sales_start   timestamptz,
    ADD COLUMN sales_end     timestamptz,
    ADD COLUMN max_per_order integer CHECK (max_per_order > 0),
    ADD CONSTRAINT sales_window CHECK (sales_start < sales_end);

-- Orders that requested their tickets or were refunded. The row's lock serializes issuing, refusing and cancelling the
-- tickets of an order.
CREATE TABLE orders (
    id      uuid PRIMARY KEY,
    refusal text -- the code with which it was refused its tickets for good
);

ALTER TABLE tickets
    ADD COLUMN checked_in_at timestamptz,
    ADD COLUMN gate          text NOT NULL DEFAULT '',
    ADD COLUMN cancelled_at  timestamptz,
    ADD COLUMN cancelled_by  text,
    ADD COLUMN cancel_reason text,
    ADD COLUMN refund_key    text, -- payment-service's key of the refund that cancelled it
    ADD CONSTRAINT tickets_status CHECK (status IN ('ACTIVE', 'USED', 'CANCELLED')),
    ADD CONSTRAINT tickets_used CHECK ((status = 'USED') = (checked_in_at IS NOT NULL)),
    ADD CONSTRAINT tickets_cancelled CHECK ((status = 'CANCELLED') = (cancelled_at IS NOT NULL));
CREATE INDEX tickets_reservation ON tickets (reservation_id);
CREATE INDEX tickets_event ON tickets (event_id, number);
DROP INDEX tickets_owner;
CREATE INDEX tickets_owner ON tickets (owner_id, created_at DESC, id DESC); -- for the pages of /mine

---- create above / drop below ----

DROP INDEX tickets_owner;
CREATE INDEX tickets_owner ON tickets (owner_id, created_at DESC);
DROP INDEX tickets_event;
DROP INDEX tickets_reservation;
ALTER TABLE tickets
    DROP CONSTRAINT tickets_cancelled,
    DROP CONSTRAINT tickets_used,
    DROP CONSTRAINT tickets_status,
    DROP COLUMN refund_key,
    DROP COLUMN cancel_reason,
    DROP COLUMN cancelled_by,
    DROP COLUMN cancelled_at,
    DROP COLUMN gate,
    DROP COLUMN checked_in_at;
DROP TABLE orders;
ALTER TABLE ticket_types
    DROP CONSTRAINT sales_window,
    DROP COLUMN max_per_order,
    DROP COLUMN sales_end,
    DROP COLUMN sales_start;
