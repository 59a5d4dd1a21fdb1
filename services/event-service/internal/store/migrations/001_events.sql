CREATE TABLE events (
    id            uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    organizer_id  uuid        NOT NULL, -- a user of auth-service
    status        text        NOT NULL DEFAULT 'DRAFT' CHECK (status IN ('DRAFT', 'PUBLISHED', 'CANCELLED')),
    name          text        NOT NULL,
    description   text        NOT NULL,
    event_date    timestamptz NOT NULL,
    venue_name    text        NOT NULL,
    venue_address text        NOT NULL,
    category      text        NOT NULL,
    image_url     text        NOT NULL, -- empty without a picture
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

---- create above / drop below ----

DROP TABLE events;
