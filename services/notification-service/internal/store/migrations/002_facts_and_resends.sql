-- A notification is composed again from its facts. A resend is a row of its own.
ALTER TABLE notifications
    ADD COLUMN event_id  uuid, -- the event that caused it
    ADD COLUMN facts     json, -- the payload of the event: ids and numbers; the rest is looked up
    ADD COLUMN resend_of uuid REFERENCES notifications, -- the first notification; null in its own row
    ADD COLUMN due_at    timestamptz, -- the next attempt of a resend
    DROP CONSTRAINT notifications_kind_check,
    DROP CONSTRAINT notifications_attempts_check;

UPDATE notifications SET event_id = message_id;

ALTER TABLE notifications
    ALTER COLUMN event_id SET NOT NULL,
    ADD CHECK (kind IN ('ORDER_CONFIRMATION', 'PAYMENT_FAILED', 'REFUND_PROCESSED', 'TICKET_TRANSFERRED', 'TICKET_RECEIVED',
                        'TICKET_CANCELLED', 'EMAIL_VERIFICATION', 'PASSWORD_RESET')),
    ADD CHECK (attempts >= 0),
    ADD CHECK ((resend_of IS NULL) = (due_at IS NULL));

CREATE INDEX notifications_of_user ON notifications (user_id, created_at, id);
-- Two requests while a resend is pending are one resend.
CREATE UNIQUE INDEX notifications_one_resend ON notifications (resend_of) WHERE status = 'PENDING';
CREATE INDEX notifications_resends ON notifications (resend_of);
CREATE INDEX notifications_due ON notifications (due_at) WHERE status = 'PENDING' AND resend_of IS NOT NULL;

---- create above / drop below ----

DELETE FROM notifications WHERE resend_of IS NOT NULL OR attempts = 0
    OR kind NOT IN ('ORDER_CONFIRMATION', 'PAYMENT_FAILED');
DROP INDEX notifications_due, notifications_resends, notifications_one_resend, notifications_of_user;
ALTER TABLE notifications
    DROP COLUMN due_at, DROP COLUMN resend_of, DROP COLUMN facts, DROP COLUMN event_id,
    DROP CONSTRAINT notifications_kind_check, DROP CONSTRAINT notifications_attempts_check,
    ADD CHECK (kind IN ('ORDER_CONFIRMATION', 'PAYMENT_FAILED')),
    ADD CHECK (attempts > 0);
