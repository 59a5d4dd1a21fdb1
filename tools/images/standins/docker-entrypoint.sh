#!/bin/sh
# Does what deploy/kubernetes/overlays/local needs of the entrypoint of PostgreSQL's official image: it creates a missing
# data directory, with the superuser's password and the SQL in /docker-entrypoint-initdb.d. This image has no psql, so
# PostgreSQL reads the SQL itself, one statement per line.
set -eu

if [ ! -s "$PGDATA/PG_VERSION" ]; then
	initdb --username=postgres --encoding=UTF8 --locale=C --auth-local=trust --auth-host=scram-sha-256 --pwfile=/dev/fd/3 \
		--set=listen_addresses='*' --set=unix_socket_directories=/var/run/postgresql 3<<-PASSWORD
		$POSTGRES_PASSWORD
	PASSWORD
	echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
	for sql in /docker-entrypoint-initdb.d/*.sql; do
		postgres --single -c exit_on_error=on postgres <"$sql" >/dev/null
	done
fi

case ${1-} in
-*) set -- postgres "$@" ;;
esac
exec "$@"
