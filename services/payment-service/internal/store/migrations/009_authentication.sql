ALTER TABLE orders
    ADD COLUMN return_url           text, -- where the bank sends the buyer after authentication
    -- What the buyer has to do to complete the charge. Both are null if there is nothing to do.
    ADD COLUMN action_client_secret text,
    ADD COLUMN action_redirect_url  text;

---- create above / drop below ----

ALTER TABLE orders
    DROP COLUMN return_url,
    DROP COLUMN action_client_secret,
    DROP COLUMN action_redirect_url;
