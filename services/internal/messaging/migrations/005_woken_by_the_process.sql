-- PostgreSQL serializes the commits of transactions that notify, in all databases of a server, and each of these commits
-- waits for the disk. Now the process that commits wakes its relay. A relay of the previous version finds events by
-- polling every 2 s.
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
