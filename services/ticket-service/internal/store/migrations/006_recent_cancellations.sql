-- Sweeps look at what is not finished or was a short while ago.
CREATE INDEX event_cancellations_finished ON event_cancellations (finished_at);

---- create above / drop below ----

DROP INDEX event_cancellations_finished;
