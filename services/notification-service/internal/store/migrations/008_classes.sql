-- Each class has workers of its own, so that many notifications of one class do not delay those of another.
ALTER TABLE notifications ADD COLUMN class text NOT NULL DEFAULT 'ORDER' CHECK (class IN ('ACCOUNT', 'ORDER', 'ALERT', 'BULK'));
UPDATE notifications SET class = CASE
        WHEN kind IN ('EMAIL_VERIFICATION', 'PASSWORD_RESET') THEN 'ACCOUNT'
        WHEN kind IN ('COMPENSATION_FAILED', 'DEAD_LETTER_ARCHIVED') THEN 'ALERT'
        ELSE 'BULK' END
    WHERE status = 'PENDING' AND kind IN ('EMAIL_VERIFICATION', 'PASSWORD_RESET', 'COMPENSATION_FAILED', 'DEAD_LETTER_ARCHIVED',
                                          'EVENT_CANCELLED', 'EVENT_POSTPONED', 'REFUND_PROCESSED');
DROP INDEX notifications_due;
CREATE INDEX notifications_due ON notifications (class, due_at) WHERE status = 'PENDING';

---- create above / drop below ----

DROP INDEX notifications_due;
CREATE INDEX notifications_due ON notifications (due_at) WHERE status = 'PENDING';
ALTER TABLE notifications DROP COLUMN class;
