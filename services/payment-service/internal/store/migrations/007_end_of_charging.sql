ALTER TABLE orders ADD COLUMN asking_since timestamptz; -- when charging stopped; from then on only look-ups

---- create above / drop below ----

ALTER TABLE orders DROP COLUMN asking_since;
