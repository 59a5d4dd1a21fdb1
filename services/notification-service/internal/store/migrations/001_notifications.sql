-- Notifications, sent or to be sent. They contain no addresses and no texts, which are looked up when a mail is composed.
CREATE TABLE notifications (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    message_id uuid        NOT NULL, -- the event that caused it
    user_id    uuid        NOT NULL,
    order_id   uuid,                 -- null if it is not about an order
    kind       text        NOT NULL CHECK (kind IN ('ORDER_CONFIRMATION', 'PAYMENT_FAILED')),
    status     text        NOT NULL CHECK (status IN ('PENDING', 'SENT', 'FAILED')),
    attempts   integer     NOT NULL CHECK (attempts > 0),
    error_code text,                 -- why the last attempt failed
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz,
    UNIQUE (message_id, user_id),    -- no user gets a message twice
    CHECK ((status = 'SENT') = (sent_at IS NOT NULL))
);

---- create above / drop below ----

DROP TABLE notifications;
