-- Expired rows are deleted. These indexes find them.
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;
CREATE INDEX inbox_processed ON inbox (processed_at);
CREATE INDEX unknown_events_received ON unknown_events (received_at);
CREATE INDEX dead_letters_handled ON dead_letters (handled_at) WHERE state <> 'OPEN';

-- Up to which time rows may have been deleted.
CREATE TABLE purged (
    relation text        PRIMARY KEY,
    before   timestamptz NOT NULL -- compared with the column by which rows expire
);

---- create above / drop below ----

DROP TABLE purged;
DROP INDEX dead_letters_handled, unknown_events_received, inbox_processed, outbox_published;
