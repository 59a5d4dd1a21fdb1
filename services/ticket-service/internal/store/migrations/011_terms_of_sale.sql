-- When the organizer last set the terms of sale. The audit compares sales with them from then on.
ALTER TABLE ticket_types ADD COLUMN terms_since timestamptz NOT NULL DEFAULT now();

---- create above / drop below ----

ALTER TABLE ticket_types DROP COLUMN terms_since;
