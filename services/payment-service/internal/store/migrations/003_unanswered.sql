-- The sweeper resumes orders at FULFIL too: it announces an order without tickets again and finally refunds it.
DROP INDEX orders_unfinished;
CREATE INDEX orders_unfinished ON orders (resume_at) WHERE step NOT IN ('DONE', 'REFUND');

---- create above / drop below ----

DROP INDEX orders_unfinished;
CREATE INDEX orders_unfinished ON orders (resume_at) WHERE step NOT IN ('DONE', 'FULFIL', 'REFUND');
