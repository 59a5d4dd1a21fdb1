-- When an event that the broker refused is due again; null until the first refusal.
ALTER TABLE outbox ADD COLUMN retry_at timestamptz;
-- The number of refusals while the broker accepted other events of the topic.
ALTER TABLE outbox ADD COLUMN refusals integer NOT NULL DEFAULT 0;
-- New events are found without reading the refused ones, and those in the order in which they are due.
CREATE INDEX outbox_not_refused ON outbox (position) WHERE published_at IS NULL AND retry_at IS NULL;
CREATE INDEX outbox_refused ON outbox (retry_at) WHERE published_at IS NULL AND retry_at IS NOT NULL;

---- create above / drop below ----

DROP INDEX outbox_refused, outbox_not_refused;
ALTER TABLE outbox DROP COLUMN refusals;
ALTER TABLE outbox DROP COLUMN retry_at;
