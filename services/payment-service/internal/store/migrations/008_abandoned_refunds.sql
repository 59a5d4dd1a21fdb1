-- Failed refunds that operations were alerted about. They are few and are read often.
CREATE INDEX refunds_alerted ON refunds (order_id) WHERE status = 'FAILED' AND alerted_at IS NOT NULL;

---- create above / drop below ----

DROP INDEX refunds_alerted;
