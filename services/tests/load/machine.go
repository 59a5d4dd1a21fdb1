package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// machine describes the machine of a run. Fields that cannot be read are empty.
type machine struct {
	CPU    string  `json:"cpu"`
	Cores  int     `json:"cores"`
	Memory float64 `json:"memoryGiB"`
	Kernel string  `json:"kernel"`
	Go     string  `json:"go"`
	// Sync is how long it takes to write 8 KiB and flush them to the disk, which is what a commit waits for.
	Sync string `json:"sync"`
	// Load is the load average of the last minute.
	Load float64 `json:"load"`
}

func describeMachine() machine {
	m := machine{
		CPU: fieldOf("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		Go:     strings.TrimPrefix(runtime.Version(), "go"),
		Kernel: firstWord("/proc/sys/kernel/osrelease"),
	}
	kilobytes, _, _ := strings.Cut(fieldOf("/proc/meminfo", "MemTotal"), " ")
	if n, err := strconv.ParseFloat(kilobytes, 64); err == nil {
		m.Memory = float64(int(n/(1<<20)*10)) / 10
	}
	if d, err := syncTime(); err == nil {
		m.Sync = d.Round(10 * time.Microsecond).String()
	}
	m.Load, _ = strconv.ParseFloat(firstWord("/proc/loadavg"), 64) // 0 if there is none
	return m
}

// Busy reports whether other programs use the machine.
func (m machine) Busy() bool { return m.Load > float64(m.Cores)*0.75 }

// String describes the machine in one line.
func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %.0f GiB, Linux %s, Go %s, %s to write to the disk, load average %.1f at the start",
		m.CPU, m.Cores, m.Memory, m.Kernel, m.Go, m.Sync, m.Load)
}

// fieldOf returns the value of a line such as "model name : AMD EPYC".
func fieldOf(path, name string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(content)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func firstWord(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	word, _, _ := strings.Cut(strings.TrimSpace(string(content)), " ")
	return word
}

// syncTime returns the median time of a write to the disk that holds PostgreSQL's data.
func syncTime() (time.Duration, error) {
	file, err := os.CreateTemp("", "eventbooking-sync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	block := make([]byte, 8<<10)
	var times []time.Duration
	for range 200 {
		began := time.Now()
		_, err := file.WriteAt(block, 0)
		if err := errors.Join(err, file.Sync()); err != nil {
			return 0, err
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// usage is what processes use of the machine.
type usage struct {
	cpu    time.Duration // since they started
	memory int           // resident now, in bytes
}

// usageOf returns the usage of a process, or the sum over the process and its descendants. A process that has ended
// counts as zero.
func usageOf(pid int, descendants bool) usage {
	children := map[int][]int{}
	used := map[int]usage{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is valid
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // the process has ended
		}
		// Field 2 is the command in parentheses and may contain any character. Of the others, 3 is the state, 4 the
		// parent, 14 to 17 are the CPU times of the process and of its children that ended, and 24 is the memory.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 22 {
			continue
		}
		number := func(field int) int { n, _ := strconv.Atoi(fields[field-3]); return n }
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		children[number(4)] = append(children[number(4)], id)
		ticks := number(14) + number(15) + number(16) + number(17)
		used[id] = usage{time.Duration(ticks) * tick, number(24) * os.Getpagesize()}
	}
	var sum usage
	for pending := []int{pid}; len(pending) > 0; pending = pending[1:] {
		u := used[pending[0]]
		sum.cpu, sum.memory = sum.cpu+u.cpu, sum.memory+u.memory
		if descendants {
			pending = append(pending, children[pending[0]]...)
		}
	}
	return sum
}

// tick is the unit of CPU times in /proc, which is the same on every Linux.
const tick = time.Second / 100
