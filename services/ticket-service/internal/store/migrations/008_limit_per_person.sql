ALTER TABLE ticket_types ADD COLUMN max_per_person integer CHECK (max_per_person > 0); -- null is no limit

-- What a person holds and has bought of an event. Every reservation is in an index of live reservations anyway, which now
-- also has the person; the other one changes only when a reservation is completed.
DROP INDEX reservations_live;
CREATE INDEX reservations_live ON reservations (event_id, user_id) WHERE status = 'ACTIVE';
CREATE INDEX reservations_bought ON reservations (event_id, user_id) WHERE status = 'COMPLETED';

---- create above / drop below ----

DROP INDEX reservations_bought;
DROP INDEX reservations_live;
CREATE INDEX reservations_live ON reservations (event_id) WHERE status = 'ACTIVE';
ALTER TABLE ticket_types DROP COLUMN max_per_person;
