-- For the deletion of expired rows.
CREATE INDEX sessions_expired ON sessions (expires_at);
CREATE INDEX refresh_tokens_expired ON refresh_tokens (expires_at);
CREATE INDEX login_failures_failed ON login_failures (failed_at);
CREATE INDEX account_mails_expired ON account_mails (expires_at);
-- Every start of the service looks for an admin.
CREATE INDEX users_admins ON users (id) WHERE 'ADMIN' = ANY (roles);

---- create above / drop below ----

DROP INDEX users_admins, account_mails_expired, login_failures_failed, refresh_tokens_expired, sessions_expired;
