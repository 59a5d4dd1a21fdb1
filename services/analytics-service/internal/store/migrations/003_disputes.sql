-- In the currency of event_sales. What the bank has taken: the disputes that are open or lost.
ALTER TABLE event_sales
    ADD COLUMN disputes       bigint NOT NULL DEFAULT 0,
    ADD COLUMN disputed_minor bigint NOT NULL DEFAULT 0;

---- create above / drop below ----

ALTER TABLE event_sales DROP COLUMN disputes, DROP COLUMN disputed_minor;
