-- Transactions that notify somebody commit one after the other, in all databases of a server, each waiting for the disk
-- alone. So the relay is woken by the process that committed. One of the version before finds events when it looks, every 2 s.
DROP TRIGGER outbox_notify ON outbox;
DROP FUNCTION outbox_notify();

---- create above / drop below ----

CREATE FUNCTION outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY outbox;
    RETURN NULL;
END $$;
CREATE TRIGGER outbox_notify AFTER INSERT ON outbox
    FOR EACH STATEMENT EXECUTE FUNCTION outbox_notify();
