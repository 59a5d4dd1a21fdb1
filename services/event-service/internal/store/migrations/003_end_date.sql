ALTER TABLE events
    ADD COLUMN end_date timestamptz, -- null if the organizer has not set it
    ADD CONSTRAINT events_end CHECK (end_date > event_date);

---- create above / drop below ----

ALTER TABLE events DROP CONSTRAINT events_end, DROP COLUMN end_date;
