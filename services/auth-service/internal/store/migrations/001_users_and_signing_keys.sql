CREATE TABLE users (
    id             uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    email          text        NOT NULL, -- normalized by the service
    password_hash  text        NOT NULL, -- PHC string, which includes the parameters
    first_name     text        NOT NULL,
    last_name      text        NOT NULL,
    roles          text[]      NOT NULL CHECK (roles <@ ARRAY ['USER', 'ORGANIZER', 'ADMIN']),
    email_verified boolean     NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_email_key UNIQUE (email)
);

CREATE TABLE signing_keys (
    kid         text        PRIMARY KEY,
    public_key  bytea       NOT NULL,
    private_key bytea       NOT NULL, -- encrypted with the secret auth-service-key-encryption-key
    not_before  timestamptz NOT NULL DEFAULT now(), -- when it starts to sign; it is published from its creation on
    retired_at  timestamptz,                        -- when it stops signing
    created_at  timestamptz NOT NULL DEFAULT now()
);

---- create above / drop below ----

DROP TABLE signing_keys;
DROP TABLE users;
