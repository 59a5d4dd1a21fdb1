-- Why an event was refused the last time. SQS stores no reason with a message of a dead-letter queue.
CREATE TABLE failed_deliveries (
    event_id  text        PRIMARY KEY,
    reason    text        NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT now()
);

-- Messages from the service's dead-letter queues.
CREATE TABLE dead_letters (
    id             uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    queue          text        NOT NULL,
    event_id       text        NOT NULL UNIQUE, -- a hash of the body if that has no id
    type           text        NOT NULL,        -- empty if unknown
    body           text        NOT NULL,        -- the CloudEvent, or the message if it contains none
    message_id     text        NOT NULL,        -- the topic's; it changes with every publication of the event
    reason         text        NOT NULL,
    state          text        NOT NULL DEFAULT 'OPEN' CHECK (state IN ('OPEN', 'REDRIVEN', 'DISCARDED')),
    times          integer     NOT NULL DEFAULT 1,
    first_seen     timestamptz NOT NULL DEFAULT now(),
    last_seen      timestamptz NOT NULL DEFAULT now(),
    alerted_at     timestamptz NOT NULL DEFAULT '-infinity',
    handled_at     timestamptz,
    redriven_until timestamptz NOT NULL DEFAULT '-infinity' -- until then a replica processes its event
);
CREATE INDEX dead_letters_open ON dead_letters (first_seen, id) WHERE state = 'OPEN';
CREATE INDEX dead_letters_listed ON dead_letters (first_seen DESC, id DESC);

---- create above / drop below ----

DROP TABLE dead_letters;
DROP TABLE failed_deliveries;
