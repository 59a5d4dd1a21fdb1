-- Every notification is queued here and none in the message queue, so every pending row has a due_at.
UPDATE notifications SET due_at = now() WHERE status = 'PENDING' AND due_at IS NULL;
ALTER TABLE notifications
    DROP CONSTRAINT notifications_resends_are_due,
    ADD CONSTRAINT notifications_pending_are_due CHECK (status <> 'PENDING' OR due_at IS NOT NULL);

---- create above / drop below ----

ALTER TABLE notifications
    DROP CONSTRAINT notifications_pending_are_due,
    ADD CONSTRAINT notifications_resends_are_due CHECK (resend_of IS NULL OR due_at IS NOT NULL);
