CREATE INDEX events_on_sale ON events (event_date) WHERE status = 'PUBLISHED';

---- create above / drop below ----

DROP INDEX events_on_sale;
