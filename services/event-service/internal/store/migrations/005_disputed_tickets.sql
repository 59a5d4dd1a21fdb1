-- What happens to tickets whose payment is disputed at the bank.
ALTER TABLE events
    ADD COLUMN disputed_tickets text NOT NULL DEFAULT 'SUSPEND'
    CONSTRAINT events_disputed_tickets CHECK (disputed_tickets IN ('SUSPEND', 'VOID'));

---- create above / drop below ----

ALTER TABLE events DROP COLUMN disputed_tickets;
