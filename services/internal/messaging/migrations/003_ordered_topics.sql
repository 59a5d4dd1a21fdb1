-- Topics whose events keep their order: of all relays one publishes there, until then.
CREATE TABLE ordered_topics (
    topic        text        PRIMARY KEY,
    holder       uuid        NOT NULL,
    leased_until timestamptz NOT NULL
);

---- create above / drop below ----

DROP TABLE ordered_topics;
