ALTER TABLE events ADD COLUMN disputed_tickets text NOT NULL DEFAULT 'SUSPEND' CHECK (disputed_tickets IN ('SUSPEND', 'VOID'));

-- The disputes of payments, from PAYMENT_DISPUTED.
CREATE TABLE disputes (
    id       text    PRIMARY KEY,
    order_id uuid    NOT NULL,
    status   text    NOT NULL CHECK (status IN ('OPEN', 'WON', 'LOST')),
    revision integer NOT NULL, -- of the last event; one that is not newer is stale
    void     boolean NOT NULL  -- what the organizer wanted when the dispute was opened: VOID, or else SUSPEND
);
CREATE INDEX disputes_order ON disputes (order_id);

-- Why the tickets of the order do not admit; null if they do. It also applies to tickets that are issued later.
ALTER TABLE orders ADD COLUMN suspension text CHECK (suspension IN ('SUSPENDED', 'VOID'));

---- create above / drop below ----

ALTER TABLE orders DROP COLUMN suspension;
DROP TABLE disputes;
ALTER TABLE events DROP COLUMN disputed_tickets;
