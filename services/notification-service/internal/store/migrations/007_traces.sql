-- A mail is sent in the trace of the event that caused it.
ALTER TABLE notifications ADD COLUMN correlation_id text NOT NULL DEFAULT '', ADD COLUMN traceparent text NOT NULL DEFAULT '';
ALTER TABLE announcements ADD COLUMN correlation_id text NOT NULL DEFAULT '', ADD COLUMN traceparent text NOT NULL DEFAULT '';

---- create above / drop below ----

ALTER TABLE announcements DROP COLUMN correlation_id, DROP COLUMN traceparent;
ALTER TABLE notifications DROP COLUMN correlation_id, DROP COLUMN traceparent;
