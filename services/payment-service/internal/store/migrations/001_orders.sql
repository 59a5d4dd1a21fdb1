CREATE TABLE orders (
    id              uuid        PRIMARY KEY,
    number          text        NOT NULL UNIQUE,
    user_id         uuid        NOT NULL,
    event_id        uuid        NOT NULL,
    holder_name     text        NOT NULL,
    idempotency_key text        NOT NULL,
    request_hash    bytea       NOT NULL, -- distinguishes a repeated request from a reused key
    status          text        NOT NULL DEFAULT 'PENDING'
                    CHECK (status IN ('PENDING', 'COMPLETED', 'FAILED', 'REFUNDED')),
    step            text        NOT NULL DEFAULT 'RESERVE'
                    CHECK (step IN ('RESERVE', 'CHARGE', 'RELEASE', 'FULFIL', 'REFUND', 'DONE')),
    reservation_id  uuid        NOT NULL,
    currency        text,                 -- these two are null until reserved
    total_minor     bigint,
    payment_method  text        NOT NULL,
    payment_token   text,                 -- null when no charge is made any more
    charge_since    timestamptz,          -- written before the charge is first attempted
    transaction_id  text,
    failure_code    text,
    failure_message text,
    retryable       boolean     NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    completed_at    timestamptz,

    -- The saga's driver holds the lease. The sweeper resumes a saga without a driver from resume_at on.
    leased_until    timestamptz NOT NULL DEFAULT '-infinity',
    resume_at       timestamptz NOT NULL DEFAULT now(),
    tries           integer     NOT NULL DEFAULT 0, -- failed attempts at this step

    CONSTRAINT orders_idempotency_key UNIQUE (user_id, idempotency_key)
);
CREATE INDEX orders_unfinished ON orders (resume_at) WHERE step NOT IN ('DONE', 'FULFIL');

CREATE TABLE order_items (
    order_id         uuid    NOT NULL REFERENCES orders,
    ticket_type_id   uuid    NOT NULL,
    quantity         integer NOT NULL CHECK (quantity > 0),
    unit_price_minor bigint, -- null until reserved
    PRIMARY KEY (order_id, ticket_type_id)
);

-- The saga's history. Each event is committed with the change that it reports.
CREATE TABLE saga_events (
    position   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- orders events with the same timestamp
    id         uuid        NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    saga_id    uuid        NOT NULL, -- the order's id
    saga_type  text        NOT NULL,
    event_type text        NOT NULL,
    payload    jsonb       NOT NULL,
    status     text        NOT NULL CHECK (status IN ('PENDING', 'COMPLETED', 'COMPENSATED', 'FAILED')),
    timestamp  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX saga_events_saga ON saga_events (saga_id, position);

-- Returns ORD-YYYY-NNNNNN from a sequence for each year (UTC). A sequence does not wait for other transactions. Numbers
-- of transactions that were rolled back are missing.
CREATE FUNCTION next_order_number() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    year text := to_char(now() AT TIME ZONE 'UTC', 'YYYY');
BEGIN
    LOOP
        BEGIN
            RETURN 'ORD-' || year || '-' || to_char(nextval('order_number_' || year), 'FM999999000000');
        EXCEPTION WHEN undefined_table THEN
            BEGIN
                EXECUTE 'CREATE SEQUENCE order_number_' || year;
            EXCEPTION WHEN duplicate_table OR unique_violation THEN
                NULL; -- another transaction created it
            END;
        END;
    END LOOP;
END $$;

---- create above / drop below ----

DROP FUNCTION next_order_number();
DROP TABLE saga_events;
DROP TABLE order_items;
DROP TABLE orders;
