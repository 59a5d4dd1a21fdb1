-- Events that concern every holder of tickets for a booked event, with the progress of queueing the notifications.
CREATE TABLE announcements (
    id          uuid        PRIMARY KEY,          -- the event that caused it
    about       uuid        NOT NULL,             -- the booked event
    kind        text        NOT NULL,
    facts       json        NOT NULL,             -- the payload of the event
    cursor      text        NOT NULL DEFAULT '',  -- of ticket-service, for the next page
    due_at      timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz                       -- null while pages are left
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
