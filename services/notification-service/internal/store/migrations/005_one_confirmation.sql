-- An order whose tickets are announced again, by another event, is confirmed once.
CREATE UNIQUE INDEX notifications_one_confirmation ON notifications (order_id)
    WHERE kind = 'ORDER_CONFIRMATION' AND resend_of IS NULL;

---- create above / drop below ----

DROP INDEX notifications_one_confirmation;
