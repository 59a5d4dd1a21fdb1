ALTER TABLE orders ADD COLUMN asking_since timestamptz; -- from then on no charge is attempted, only asked for

---- create above / drop below ----

ALTER TABLE orders DROP COLUMN asking_since;
