-- A session starts with a login and ends with a logout, a revocation, or 30 days without a refresh.
CREATE TABLE sessions (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(), -- the claim sid of its access tokens
    user_id    uuid        NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL, -- that of its newest refresh token
    revoked_at timestamptz
);
CREATE INDEX sessions_user ON sessions (user_id);

-- Used tokens are kept until they expire, because the reuse of one reveals a theft.
CREATE TABLE refresh_tokens (
    hash       bytea       PRIMARY KEY, -- SHA-256; the token itself is not stored
    session_id uuid        NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);

CREATE TABLE login_failures (
    account   bytea       NOT NULL, -- SHA-256 of the e-mail address, which need not have an account
    address   text        NOT NULL, -- the network address of the client
    failed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX login_failures_account ON login_failures (account, failed_at);
CREATE INDEX login_failures_address ON login_failures (address, failed_at);

-- Requested mails. Their tokens are derived from request_id and not stored.
CREATE TABLE account_mails (
    request_id uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    account    bytea       NOT NULL,               -- as in login_failures
    user_id    uuid        REFERENCES users (id),  -- null if the mail is not sent
    kind       text        NOT NULL CHECK (kind IN ('EMAIL_VERIFICATION', 'PASSWORD_RESET')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX account_mails_account ON account_mails (account, kind, created_at);
CREATE INDEX account_mails_user ON account_mails (user_id);

---- create above / drop below ----

DROP TABLE account_mails;
DROP TABLE login_failures;
DROP TABLE refresh_tokens;
DROP TABLE sessions;
