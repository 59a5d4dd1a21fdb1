package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// hierarchies returns the roots of the control groups: one directory with version 2, one for each controller with
// version 1.
func hierarchies() ([]string, error) {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return []string{root}, nil
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("find the control groups: %w", err)
	}
	var all []string
	for _, e := range entries {
		if e.IsDir() { // other entries are links to a directory, such as cpu to cpu,cpuacct
			all = append(all, filepath.Join(root, e.Name()))
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no control groups are mounted at " + root)
	}
	return all, nil
}

// makeGroups creates the control group in which a kubelet creates those of its pods. It removes an older group of that
// name.
func makeGroups(name string) error {
	if err := removeGroups(name); err != nil {
		return err
	}
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		if err := os.Mkdir(filepath.Join(h, name), 0o755); err != nil {
			return fmt.Errorf("create a control group: %w", err)
		}
	}
	return nil
}

// removeGroups removes the control groups of that name and all groups in them. It retries for 10 s, because a group is
// busy until the kernel has removed its last process.
func removeGroups(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, h := range all {
		var groups []string
		err := filepath.WalkDir(filepath.Join(h, name), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				groups = append(groups, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("find the control groups: %w", err)
		}
		for _, group := range slices.Backward(groups) { // inner groups first
			err := os.Remove(group)
			for err != nil && !errors.Is(err, os.ErrNotExist) {
				if time.Now().After(deadline) {
					return fmt.Errorf("remove a control group: %w", err)
				}
				time.Sleep(20 * time.Millisecond)
				err = os.Remove(group)
			}
		}
	}
	return nil
}
