-- What everybody who holds tickets of an event is told, and how far that is.
CREATE TABLE announcements (
    id          uuid        PRIMARY KEY,          -- the event that it tells of
    about       uuid        NOT NULL,             -- the event that people go to
    kind        text        NOT NULL,
    facts       json        NOT NULL,             -- that event's payload
    cursor      text        NOT NULL DEFAULT '',  -- ticket-service's: the page that comes next
    due_at      timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz                       -- null while there are pages left
);
CREATE INDEX announcements_due ON announcements (due_at) WHERE finished_at IS NULL;
ALTER TABLE notifications
    DROP CONSTRAINT notifications_kind_check,
    ADD CHECK (kind IN ('ORDER_CONFIRMATION', 'PAYMENT_FAILED', 'REFUND_PROCESSED', 'TICKET_TRANSFERRED', 'TICKET_RECEIVED',
                        'TICKET_CANCELLED', 'EVENT_CANCELLED', 'EVENT_POSTPONED', 'EMAIL_VERIFICATION', 'PASSWORD_RESET',
                        'COMPENSATION_FAILED', 'DEAD_LETTER_ARCHIVED'));

---- create above / drop below ----

DELETE FROM notifications WHERE resend_of IN (SELECT id FROM notifications WHERE kind = 'EVENT_POSTPONED');
DELETE FROM notifications WHERE kind = 'EVENT_POSTPONED';
ALTER TABLE notifications
    DROP CONSTRAINT notifications_kind_check,
    ADD CHECK (kind IN ('ORDER_CONFIRMATION', 'PAYMENT_FAILED', 'REFUND_PROCESSED', 'TICKET_TRANSFERRED', 'TICKET_RECEIVED',
                        'TICKET_CANCELLED', 'EVENT_CANCELLED', 'EMAIL_VERIFICATION', 'PASSWORD_RESET',
                        'COMPENSATION_FAILED', 'DEAD_LETTER_ARCHIVED'));
DROP TABLE announcements;
