-- The name of the ticket type, as the order and mails show it. Empty until the tickets are reserved, and in older orders.
ALTER TABLE order_items ADD COLUMN name text NOT NULL DEFAULT '';

---- create above / drop below ----

ALTER TABLE order_items DROP COLUMN name;
