-- An order is confirmed once, also if another event announces its tickets again.
CREATE UNIQUE INDEX notifications_one_confirmation ON notifications (order_id)
    WHERE kind = 'ORDER_CONFIRMATION' AND resend_of IS NULL;

---- create above / drop below ----

DROP INDEX notifications_one_confirmation;
