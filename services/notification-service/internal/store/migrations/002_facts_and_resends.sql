-- A notification can be made anew from its facts, and sent again as another one.
ALTER TABLE notifications
    ADD COLUMN event_id  uuid, -- the event that it tells of
    ADD COLUMN facts     json, -- that event's payload: ids and numbers, to look up the rest with
    ADD COLUMN resend_of uuid REFERENCES notifications, -- the first of its kind; null for that one
    ADD COLUMN due_at    timestamptz, -- a resend's next attempt
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
-- Two clicks are one resend.
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
