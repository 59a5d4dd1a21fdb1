ALTER TABLE orders  ADD COLUMN alerted_at timestamptz; -- when operations were alerted; null if they were not
ALTER TABLE refunds ADD COLUMN alerted_at timestamptz; -- likewise

---- create above / drop below ----

ALTER TABLE orders  DROP COLUMN alerted_at;
ALTER TABLE refunds DROP COLUMN alerted_at;
