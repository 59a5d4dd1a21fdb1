-- Why an event was last refused. SQS tells whoever reads a dead-letter queue nothing of that.
CREATE TABLE failed_deliveries (
    event_id  text        PRIMARY KEY,
    reason    text        NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT now()
);

-- What came out of the dead-letter queue.
CREATE TABLE dead_letters (
    id             uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    queue          text        NOT NULL,
    event_id       text        NOT NULL UNIQUE, -- of what has none, a hash
    type           text        NOT NULL,        -- empty if it cannot be told
    body           text        NOT NULL,        -- the CloudEvent; what lay in the queue if that is none
    message_id     text        NOT NULL,        -- the topic's, another one each time that the event is published
    reason         text        NOT NULL,
    state          text        NOT NULL DEFAULT 'OPEN' CHECK (state IN ('OPEN', 'REDRIVEN', 'DISCARDED')),
    times          integer     NOT NULL DEFAULT 1,
    first_seen     timestamptz NOT NULL DEFAULT now(),
    last_seen      timestamptz NOT NULL DEFAULT now(),
    alerted_at     timestamptz NOT NULL DEFAULT '-infinity',
    handled_at     timestamptz,
    redriven_until timestamptz NOT NULL DEFAULT '-infinity' -- somebody is redriving it until then
);
CREATE INDEX dead_letters_open ON dead_letters (first_seen, id) WHERE state = 'OPEN';
CREATE INDEX dead_letters_listed ON dead_letters (first_seen DESC, id DESC);

---- create above / drop below ----

DROP TABLE dead_letters;
DROP TABLE failed_deliveries;
