-- A copy of the events of event-service, kept up to date by the topic event-events.
CREATE TABLE events (
    id           uuid        PRIMARY KEY,
    organizer_id uuid        NOT NULL,
    name         text        NOT NULL,
    event_date   timestamptz NOT NULL,
    venue_name   text        NOT NULL,
    status       text        NOT NULL,
    updated_at   timestamptz NOT NULL DEFAULT '-infinity' -- when event-service changed it; orders messages
);

CREATE TABLE ticket_types (
    id          uuid        PRIMARY KEY,
    event_id    uuid        NOT NULL REFERENCES events,
    name        text        NOT NULL,
    price_minor bigint      NOT NULL CHECK (price_minor >= 0),
    currency    text        NOT NULL,
    capacity    integer     NOT NULL CHECK (capacity > 0),
    sold        integer     NOT NULL DEFAULT 0 CHECK (sold >= 0),
    held        integer     NOT NULL DEFAULT 0 CHECK (held >= 0),
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT never_oversold CHECK (sold + held <= capacity),
    CONSTRAINT ticket_types_name UNIQUE (event_id, name)
);

CREATE TABLE reservations (
    id         uuid        PRIMARY KEY, -- chosen by the caller
    user_id    uuid,                    -- these three are null in a tombstone,
    event_id   uuid,                    -- which a release before its reserve inserts
    expires_at timestamptz,
    status     text        NOT NULL CHECK (status IN ('ACTIVE', 'COMPLETED', 'CANCELLED', 'EXPIRED')),
    order_id   uuid CONSTRAINT reservations_order UNIQUE,
    reason     text,                    -- why it was released
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);
CREATE INDEX reservations_due ON reservations (expires_at) WHERE status = 'ACTIVE';

CREATE TABLE reservation_lines (
    reservation_id   uuid    NOT NULL REFERENCES reservations ON DELETE CASCADE,
    ticket_type_id   uuid    NOT NULL REFERENCES ticket_types,
    quantity         integer NOT NULL CHECK (quantity > 0),
    unit_price_minor bigint  NOT NULL, -- at the time of the reservation: what the buyer pays
    currency         text    NOT NULL,
    PRIMARY KEY (reservation_id, ticket_type_id)
);

CREATE TABLE tickets (
    id             uuid        PRIMARY KEY,
    number         text        NOT NULL UNIQUE,
    ticket_type_id uuid        NOT NULL REFERENCES ticket_types,
    event_id       uuid        NOT NULL REFERENCES events,
    order_id       uuid        NOT NULL,
    reservation_id uuid        NOT NULL REFERENCES reservations,
    owner_id       uuid        NOT NULL,
    holder_name    text        NOT NULL,
    status         text        NOT NULL DEFAULT 'ACTIVE',
    code_version   integer     NOT NULL DEFAULT 1,
    created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tickets_order ON tickets (order_id);
CREATE INDEX tickets_owner ON tickets (owner_id, created_at DESC);

-- Returns TKT-YYYY-NNNNNN, from a sequence per year (UTC). A sequence never waits for another transaction;
-- rolled-back transactions leave gaps.
CREATE FUNCTION next_ticket_number() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    year text := to_char(now() AT TIME ZONE 'UTC', 'YYYY');
BEGIN
    LOOP
        BEGIN
            RETURN 'TKT-' || year || '-' || to_char(nextval('ticket_number_' || year), 'FM999999000000');
        EXCEPTION WHEN undefined_table THEN
            BEGIN
                EXECUTE 'CREATE SEQUENCE ticket_number_' || year;
            EXCEPTION WHEN duplicate_table OR unique_violation THEN
                NULL; -- another transaction created it first
            END;
        END;
    END LOOP;
END $$;

---- create above / drop below ----

DROP FUNCTION next_ticket_number();
DROP TABLE tickets;
DROP TABLE reservation_lines;
DROP TABLE reservations;
DROP TABLE ticket_types;
DROP TABLE events;
