ALTER TABLE orders  ADD COLUMN alerted_at timestamptz; -- when people were told that it goes on in vain; null if never
ALTER TABLE refunds ADD COLUMN alerted_at timestamptz; -- likewise, or that it failed and nobody knows

---- create above / drop below ----

ALTER TABLE orders  DROP COLUMN alerted_at;
ALTER TABLE refunds DROP COLUMN alerted_at;
