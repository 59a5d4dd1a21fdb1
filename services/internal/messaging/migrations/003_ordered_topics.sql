-- Leases on ordered topics. Of all relays, the holder alone publishes to the topic until the lease expires.
CREATE TABLE ordered_topics (
    topic        text        PRIMARY KEY,
    holder       uuid        NOT NULL,
    leased_until timestamptz NOT NULL
);

---- create above / drop below ----

DROP TABLE ordered_topics;
