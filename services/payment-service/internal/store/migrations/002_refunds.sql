ALTER TABLE orders
    -- The ids of the request that placed the order. Later work on the order, by a sweep for example, is traced by them.
    ADD COLUMN correlation_id  text   NOT NULL DEFAULT '',
    ADD COLUMN traceparent     text   NOT NULL DEFAULT '',
    -- The sums of the refunds that have not failed, and of those that succeeded.
    ADD COLUMN refunding_minor bigint NOT NULL DEFAULT 0,
    ADD COLUMN refunded_minor  bigint NOT NULL DEFAULT 0;

CREATE INDEX orders_user ON orders (user_id, created_at DESC, id DESC);
CREATE INDEX orders_transaction ON orders (transaction_id);

-- An order at REFUND is completed by its refund, so the sweeper does not resume it.
DROP INDEX orders_unfinished;
CREATE INDEX orders_unfinished ON orders (resume_at) WHERE step NOT IN ('DONE', 'FULFIL', 'REFUND');

CREATE TABLE refunds (
    id                uuid        PRIMARY KEY,
    order_id          uuid        NOT NULL REFERENCES orders,
    requested_by      uuid,       -- null if a saga requested it; then the next two are null too
    idempotency_key   text,
    request_hash      bytea,
    whole             boolean     NOT NULL,
    ticket_ids        uuid[]      NOT NULL DEFAULT '{}',
    amount_minor      bigint      NOT NULL CHECK (amount_minor >= 0), -- in the order's currency
    reason            text        NOT NULL,
    status            text        NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'SUCCEEDED', 'FAILED')),
    step              text        NOT NULL CHECK (step IN ('CANCEL_TICKETS', 'REFUND', 'DONE')),
    failure_code      text        NOT NULL DEFAULT '',
    failure_message   text        NOT NULL DEFAULT '',
    gateway_refund_id text        NOT NULL DEFAULT '',
    correlation_id    text        NOT NULL DEFAULT '',
    traceparent       text        NOT NULL DEFAULT '',
    created_at        timestamptz NOT NULL DEFAULT now(),

    -- As in orders.
    leased_until      timestamptz NOT NULL DEFAULT '-infinity',
    resume_at         timestamptz NOT NULL DEFAULT now(),
    tries             integer     NOT NULL DEFAULT 0,

    CONSTRAINT refunds_idempotency_key UNIQUE (order_id, requested_by, idempotency_key)
);
CREATE INDEX refunds_order ON refunds (order_id, created_at, id);
CREATE INDEX refunds_unfinished ON refunds (resume_at) WHERE step <> 'DONE';

-- The tickets of an order, from TICKETS_GENERATED. Their prices are in order_items.
CREATE TABLE order_tickets (
    ticket_id      uuid PRIMARY KEY,
    order_id       uuid NOT NULL,
    ticket_type_id uuid NOT NULL,
    refund_id      uuid REFERENCES refunds, -- the refund of its price; null if there is none or it failed
    FOREIGN KEY (order_id, ticket_type_id) REFERENCES order_items
);
CREATE INDEX order_tickets_order ON order_tickets (order_id);

-- Creates the refunds of orders that were refunded, or at REFUND, before this table existed. Their key at the gateway
-- was derived from the order's id. The refund has the same id and thus the same key, so that none is refunded twice.
INSERT INTO refunds (id, order_id, whole, amount_minor, reason, status, step)
SELECT id, id, true, total_minor, coalesce(failure_code, ''),
       CASE status WHEN 'REFUNDED' THEN 'SUCCEEDED' ELSE 'PENDING' END,
       CASE status WHEN 'REFUNDED' THEN 'DONE' ELSE 'REFUND' END
FROM orders WHERE status = 'REFUNDED' OR step = 'REFUND';
UPDATE orders SET refunding_minor = total_minor,
                  refunded_minor = CASE status WHEN 'REFUNDED' THEN total_minor ELSE 0 END
WHERE status = 'REFUNDED' OR step = 'REFUND';
ALTER TABLE orders ADD CONSTRAINT orders_refunds CHECK
    (0 <= refunded_minor AND refunded_minor <= refunding_minor AND refunding_minor <= coalesce(total_minor, 0));

---- create above / drop below ----

DROP TABLE order_tickets;
DROP TABLE refunds;
DROP INDEX orders_user, orders_transaction, orders_unfinished;
CREATE INDEX orders_unfinished ON orders (resume_at) WHERE step NOT IN ('DONE', 'FULFIL');
ALTER TABLE orders
    DROP CONSTRAINT orders_refunds,
    DROP COLUMN correlation_id,
    DROP COLUMN traceparent,
    DROP COLUMN refunding_minor,
    DROP COLUMN refunded_minor;
