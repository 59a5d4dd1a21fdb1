package postgres

import (
	"embed"
	"io/fs"
)

// Migrations are the numbered .sql files of one owner of tables in a database. Each owner has its own version table, so
// that the tables of a shared package and those of the service are migrated independently.
type Migrations struct {
	VersionTable string
	Files        fs.FS
}

// Embedded returns the migrations in the folder "migrations" of files. It panics if there is no such folder.
func Embedded(files embed.FS, versionTable string) Migrations {
	folder, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err)
	}
	return Migrations{VersionTable: versionTable, Files: folder}
}
