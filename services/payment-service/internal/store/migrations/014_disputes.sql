-- What the card processor reports about disputes of charges. A dispute may be reported before its order is known to be paid.
CREATE TABLE disputes (
    id             text        PRIMARY KEY, -- the card processor's
    transaction_id text        NOT NULL,
    order_id       uuid        REFERENCES orders, -- null while no order has the transaction
    amount_minor   bigint      NOT NULL,
    currency       text        NOT NULL,
    reason         text        NOT NULL,
    status         text        NOT NULL CHECK (status IN ('OPEN', 'WON', 'LOST')),
    revision       integer     NOT NULL DEFAULT 0, -- of the last PAYMENT_DISPUTED; 0 before the first
    opened_at      timestamptz NOT NULL, -- by the card processor's clock
    checked_at     timestamptz NOT NULL DEFAULT now() -- when it was last reported or looked up
);
CREATE INDEX disputes_order ON disputes (order_id);
CREATE INDEX disputes_unmatched ON disputes (transaction_id) WHERE order_id IS NULL;
CREATE INDEX disputes_open ON disputes (checked_at) WHERE status = 'OPEN';

ALTER TABLE orders
    ADD COLUMN dispute        text   CHECK (dispute IN ('OPEN', 'WON', 'LOST')), -- null if the payment was never disputed
    ADD COLUMN disputed_minor bigint NOT NULL DEFAULT 0; -- what the bank has taken: the disputes that are open or lost

-- How far the list of disputes was read. The table has one row, for the one account.
CREATE TABLE dispute_polls (
    account    text        PRIMARY KEY,
    since      timestamptz NOT NULL, -- the list was read completely for disputes that were opened before
    started_at timestamptz NOT NULL, -- of the reading that is in progress
    after      text        NOT NULL DEFAULT '', -- where its next page begins
    next_at    timestamptz NOT NULL
);
-- A bank decides within about three months, so older disputes are closed.
INSERT INTO dispute_polls (account, since, started_at, next_at) VALUES ('', now() - interval '120 days', now(), now());

---- create above / drop below ----

DROP TABLE dispute_polls;
ALTER TABLE orders DROP COLUMN dispute, DROP COLUMN disputed_minor;
DROP TABLE disputes;
