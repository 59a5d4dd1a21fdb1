-- What people were told, or were to be told. Neither addresses nor texts: they are looked up when
-- needed, and are not kept here.
CREATE TABLE notifications (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    message_id uuid        NOT NULL, -- the event that it tells of
    user_id    uuid        NOT NULL,
    order_id   uuid,                 -- null when it is not about an order
    kind       text        NOT NULL CHECK (kind IN ('ORDER_CONFIRMATION', 'PAYMENT_FAILED')),
    status     text        NOT NULL CHECK (status IN ('PENDING', 'SENT', 'FAILED')),
    attempts   integer     NOT NULL CHECK (attempts > 0),
    error_code text,                 -- why the last attempt did not succeed
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz,
    UNIQUE (message_id, user_id),    -- nobody is told the same fact twice
    CHECK ((status = 'SENT') = (sent_at IS NOT NULL))
);

---- create above / drop below ----

DROP TABLE notifications;
