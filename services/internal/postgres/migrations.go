package postgres

import (
	"embed"
	"io/fs"
)

// Migrations are the numbered .sql files of one owner of tables in a database. Each owner counts its versions in a
// table of its own, so that a shared package's tables and the service's move independently.
type Migrations struct {
	VersionTable string
	Files        fs.FS
}

// Embedded returns the migrations that are embedded in the folder "migrations" of files. It panics if there is no such
// folder.
func Embedded(files embed.FS, versionTable string) Migrations {
	folder, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err)
	}
	return Migrations{VersionTable: versionTable, Files: folder}
}
