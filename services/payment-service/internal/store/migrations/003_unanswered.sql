-- The sweeper comes to FULFIL too: an order that hears nothing of its tickets is announced again, and refunded in the end.
DROP INDEX orders_unfinished;
CREATE INDEX orders_unfinished ON orders (resume_at) WHERE step NOT IN ('DONE', 'REFUND');

---- create above / drop below ----

DROP INDEX orders_unfinished;
CREATE INDEX orders_unfinished ON orders (resume_at) WHERE step NOT IN ('DONE', 'FULFIL', 'REFUND');
