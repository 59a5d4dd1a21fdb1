-- A used ticket is cancelled with its event, and keeps the time and gate of its check-in.
ALTER TABLE tickets
    DROP CONSTRAINT tickets_used,
    ADD CONSTRAINT tickets_used CHECK (status = 'CANCELLED' OR (status = 'USED') = (checked_in_at IS NOT NULL));
DROP INDEX tickets_valid;
CREATE INDEX tickets_left ON tickets (event_id, id) WHERE status <> 'CANCELLED';

---- create above / drop below ----

DROP INDEX tickets_left;
CREATE INDEX tickets_valid ON tickets (event_id, id) WHERE status = 'ACTIVE';
UPDATE tickets SET checked_in_at = NULL WHERE status = 'CANCELLED';
ALTER TABLE tickets
    DROP CONSTRAINT tickets_used,
    ADD CONSTRAINT tickets_used CHECK ((status = 'USED') = (checked_in_at IS NOT NULL));
