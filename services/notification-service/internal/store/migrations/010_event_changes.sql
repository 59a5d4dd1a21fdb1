-- Changes of an event are collected in an announcement until its first page is queued.
ALTER TABLE announcements
    ADD COLUMN created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN begun_at   timestamptz; -- null until a worker has leased it
UPDATE announcements SET begun_at = now() WHERE cursor <> '' OR finished_at IS NOT NULL;
CREATE UNIQUE INDEX announcements_collecting ON announcements (about) WHERE kind = 'EVENT_CHANGED' AND begun_at IS NULL;
-- A notification is superseded if what it would say no longer applies when it is due.
ALTER TABLE notifications
    DROP CONSTRAINT notifications_status_check,
    ADD CONSTRAINT notifications_status_check CHECK (status IN ('PENDING', 'SENT', 'FAILED', 'SUPERSEDED')),
    DROP CONSTRAINT notifications_kind_check,
    ADD CONSTRAINT notifications_kind_check CHECK (kind IN (
        'ORDER_CONFIRMATION', 'PAYMENT_FAILED', 'REFUND_PROCESSED', 'REFUND_FAILED', 'TICKET_TRANSFERRED', 'TICKET_RECEIVED',
        'TICKET_CANCELLED', 'EVENT_CANCELLED', 'EVENT_POSTPONED', 'EVENT_CHANGED', 'EMAIL_VERIFICATION', 'PASSWORD_RESET',
        'COMPENSATION_FAILED', 'DEAD_LETTER_ARCHIVED'));

---- create above / drop below ----

DELETE FROM notifications WHERE resend_of IN (
    SELECT id FROM notifications WHERE kind = 'EVENT_CHANGED' OR status = 'SUPERSEDED');
DELETE FROM notifications WHERE kind = 'EVENT_CHANGED' OR status = 'SUPERSEDED';
DELETE FROM announcements WHERE kind = 'EVENT_CHANGED';
ALTER TABLE notifications
    DROP CONSTRAINT notifications_status_check,
    ADD CONSTRAINT notifications_status_check CHECK (status IN ('PENDING', 'SENT', 'FAILED')),
    DROP CONSTRAINT notifications_kind_check,
    ADD CONSTRAINT notifications_kind_check CHECK (kind IN (
        'ORDER_CONFIRMATION', 'PAYMENT_FAILED', 'REFUND_PROCESSED', 'REFUND_FAILED', 'TICKET_TRANSFERRED', 'TICKET_RECEIVED',
        'TICKET_CANCELLED', 'EVENT_CANCELLED', 'EVENT_POSTPONED', 'EMAIL_VERIFICATION', 'PASSWORD_RESET',
        'COMPENSATION_FAILED', 'DEAD_LETTER_ARCHIVED'));
DROP INDEX announcements_collecting;
ALTER TABLE announcements DROP COLUMN begun_at, DROP COLUMN created_at;
