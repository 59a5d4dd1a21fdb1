ALTER TABLE orders
    ADD COLUMN expected_total      text,   -- a decimal: what the buyer has seen; null if the buyer sent none
    -- What the tickets cost, of an order that failed because that is not the expected total.
    ADD COLUMN current_total_minor bigint,
    ADD COLUMN current_currency    text;

---- create above / drop below ----

ALTER TABLE orders
    DROP COLUMN expected_total,
    DROP COLUMN current_total_minor,
    DROP COLUMN current_currency;
