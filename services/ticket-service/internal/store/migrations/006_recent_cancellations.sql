-- Sweeps read unfinished cancellations and recently finished ones.
CREATE INDEX event_cancellations_finished ON event_cancellations (finished_at);

---- create above / drop below ----

DROP INDEX event_cancellations_finished;
