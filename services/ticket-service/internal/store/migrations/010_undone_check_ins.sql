-- The history of check-ins. A check-in that was not undone is in its ticket.
CREATE TABLE undone_check_ins (
    ticket_id     uuid        NOT NULL REFERENCES tickets,
    checked_in_at timestamptz NOT NULL,
    gate          text        NOT NULL,
    undone_at     timestamptz NOT NULL,
    undone_by     uuid        NOT NULL, -- a user of auth-service
    reason        text        NOT NULL,
    PRIMARY KEY (ticket_id, checked_in_at)
);

---- create above / drop below ----

DROP TABLE undone_check_ins;
