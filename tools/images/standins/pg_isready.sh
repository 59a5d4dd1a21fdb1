#!/bin/sh
# Succeeds when the server accepts connections, according to the eighth line of its lock file. pg_ctl reads the same line.
# PostgreSQL's npm package has no pg_isready.
set -eu
{ for _ in 1 2 3 4 5 6 7 8; do read -r line; done; } <"$PGDATA/postmaster.pid"
[ "${line%% *}" = ready ]
