#!/bin/sh
# Whether the server takes connections, by the line of its lock file that pg_ctl goes by too: PostgreSQL's binaries from npm have
# no pg_isready.
set -eu
{ for _ in 1 2 3 4 5 6 7 8; do read -r line; done; } <"$PGDATA/postmaster.pid"
[ "${line%% *}" = ready ]
