ALTER TABLE events
    ADD COLUMN cancellation_reason text NOT NULL DEFAULT '', -- empty unless the event is cancelled
    ADD COLUMN postponed_from      timestamptz,              -- the date before the last postponement
    -- The configuration simple has no stemming, because the texts may be in any language.
    ADD COLUMN search              tsvector GENERATED ALWAYS AS (
        to_tsvector('simple', name || ' ' || description || ' ' || venue_name || ' ' || venue_address)) STORED;

CREATE INDEX events_search ON events USING gin (search);
CREATE INDEX events_published ON events (event_date, id) WHERE status = 'PUBLISHED';
CREATE INDEX events_organizer ON events (organizer_id, event_date, id);

---- create above / drop below ----

DROP INDEX events_organizer;
DROP INDEX events_published;
ALTER TABLE events DROP COLUMN search, DROP COLUMN postponed_from, DROP COLUMN cancellation_reason;
