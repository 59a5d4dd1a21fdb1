ALTER TABLE refunds ADD COLUMN holder_id uuid; -- the user who returns the tickets; null if the refund is not a return

---- create above / drop below ----

ALTER TABLE refunds DROP COLUMN holder_id;
