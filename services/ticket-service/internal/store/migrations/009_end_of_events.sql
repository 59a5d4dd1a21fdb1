ALTER TABLE events ADD COLUMN end_date timestamptz; -- null if the organizer has not set it

---- create above / drop below ----

ALTER TABLE events DROP COLUMN end_date;
