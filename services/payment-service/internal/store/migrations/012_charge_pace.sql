-- When the next charge may be made, over all replicas. The table has one row, for the one account. After a crash of the database it may be
-- empty, and the pace begins anew.
CREATE UNLOGGED TABLE charge_pace (
    account text        PRIMARY KEY,
    next_at timestamptz NOT NULL
);

---- create above / drop below ----

DROP TABLE charge_pace;
