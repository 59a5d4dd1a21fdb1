ALTER TABLE events ADD COLUMN venue_address text NOT NULL DEFAULT ''; -- empty if no message has had it yet

---- create above / drop below ----

ALTER TABLE events DROP COLUMN venue_address;
