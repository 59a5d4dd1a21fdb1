-- What is told later is told in the trace of what it tells of.
ALTER TABLE notifications ADD COLUMN correlation_id text NOT NULL DEFAULT '', ADD COLUMN traceparent text NOT NULL DEFAULT '';
ALTER TABLE announcements ADD COLUMN correlation_id text NOT NULL DEFAULT '', ADD COLUMN traceparent text NOT NULL DEFAULT '';

---- create above / drop below ----

ALTER TABLE announcements DROP COLUMN correlation_id, DROP COLUMN traceparent;
ALTER TABLE notifications DROP COLUMN correlation_id, DROP COLUMN traceparent;
