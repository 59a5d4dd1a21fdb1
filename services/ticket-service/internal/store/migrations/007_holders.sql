-- For the pages of the holders of an event, which are ordered by order.
CREATE INDEX tickets_held ON tickets (event_id, created_at, order_id) WHERE status = 'ACTIVE';

---- create above / drop below ----

DROP INDEX tickets_held;
