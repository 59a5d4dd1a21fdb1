-- The failed refund that this one repeats.
ALTER TABLE refunds ADD COLUMN retry_of uuid REFERENCES refunds;
CREATE INDEX refunds_retry ON refunds (retry_of) WHERE retry_of IS NOT NULL;

-- Whether used tickets stay as they are when the refund cancels the others.
ALTER TABLE refunds ADD COLUMN keep_used boolean NOT NULL DEFAULT false;

-- Until now any later refund of the order counted as the repetition.
UPDATE refunds later SET retry_of = (
    SELECT id FROM refunds f
    WHERE f.order_id = later.order_id AND f.status = 'FAILED' AND f.alerted_at IS NOT NULL
        AND (f.created_at, f.id) < (later.created_at, later.id)
    ORDER BY f.created_at DESC, f.id DESC LIMIT 1);

---- create above / drop below ----

ALTER TABLE refunds DROP COLUMN retry_of, DROP COLUMN keep_used;
