package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

func TestOverlayChangesWhatTheSetupRequires(t *testing.T) {
	t.Parallel()
	root, err := stack.FindRoot()
	require.NoError(t, err)
	change := func(s *system, set setup, path string) string {
		content, err := os.ReadFile(filepath.Join(root, path))
		require.NoError(t, err)
		changed, err := s.overlay(set, path, content)
		require.NoError(t, err)
		return string(changed)
	}
	shipped, err := os.ReadFile(filepath.Join(root, "components/local/rate-limit-ticket-service.yaml"))
	require.NoError(t, err)

	t.Run("RaisedLimits", func(t *testing.T) {
		t.Parallel()
		var s system
		set := setup{raiseLimits: true}
		const component = "components/local/rate-limit-ticket-service.yaml"
		require.Contains(t, change(&s, set, component), fmt.Sprintf(`value: "%d"`, noLimit))
		require.Equal(t, []string{"rate-limit-ticket-service: value 100000 instead of 200"}, s.raised)
		require.NotContains(t, change(&s, set, "dapr.yaml"), "appMaxConcurrency: 50\n")
		require.Contains(t, s.raised, "ticket-service: appMaxConcurrency 100000 instead of 50")
		require.Contains(t, s.raised, "payment-service: CHARGES_PER_SECOND 100000 instead of its default")
		const policies = "resiliency/ticket-service.yaml"
		require.Equal(t, change(&s, setup{}, policies), change(&s, set, policies), "policies are unchanged")
	})
	t.Run("AsShipped", func(t *testing.T) {
		t.Parallel()
		var s system
		require.Equal(t, string(shipped), change(&s, setup{}, "components/local/rate-limit-ticket-service.yaml"))
		require.Contains(t, change(&s, setup{}, "dapr.yaml"), "appMaxConcurrency: 50\n")
		require.Empty(t, s.raised)
	})
	t.Run("Environment", func(t *testing.T) {
		t.Parallel()
		s := system{proxy: 1234}
		var doc struct {
			Apps []struct {
				AppID string            `yaml:"appID"`
				Env   map[string]string `yaml:"env"`
			} `yaml:"apps"`
		}
		set := setup{env: map[string]map[string]string{"event-service": {"PPROF_PORT": "5"}}}
		require.NoError(t, yaml.Unmarshal([]byte(change(&s, set, "dapr.yaml")), &doc))
		require.Len(t, doc.Apps, 8)
		for _, app := range doc.Apps {
			require.Equal(t, "1234", app.Env["DAPR_HTTP_PORT"], app.AppID)
			if app.AppID == "event-service" {
				require.Equal(t, "5", app.Env["PPROF_PORT"])
				require.NotEmpty(t, app.Env["EVENT_READERS"], "existing variables are kept")
			}
		}
	})
}

func TestMailboxKeepsTheTimeOfTheFirstMail(t *testing.T) {
	t.Parallel()
	box, err := newMailbox()
	require.NoError(t, err)
	t.Cleanup(box.close)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(box.port))
	var sent []time.Time
	for range 2 {
		require.NoError(t, smtp.SendMail(address, nil, "shop@example.com", []string{"ben@example.com"},
			[]byte("To: Ben Ito <ben@example.com>\r\nSubject: Your tickets\r\n\r\nHere they are.\r\n")))
		sent = append(sent, time.Now())
	}
	arrived, ok := box.firstArrival("ben@example.com")
	require.True(t, ok)
	require.False(t, arrived.After(sent[0]), "the first mail counts")
	_, ok = box.firstArrival("ada@example.com")
	require.False(t, ok)
}

func TestUsageCountsDescendantsOnlyOnRequest(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this machine has no /proc")
	}
	own, all := usageOf(os.Getpid(), false), usageOf(os.Getppid(), true)
	require.Positive(t, own.memory)
	require.Greater(t, all.memory, own.memory, "the parent and its children use more memory than one child")
	require.Zero(t, usageOf(-1, true).memory)
}

func TestStopKeepsLogsOnlyAfterAFailure(t *testing.T) {
	t.Parallel()
	errFailed := errors.New("it broke")
	for name, tt := range map[string]struct {
		failure error
		left    []string
	}{
		"NoFailure":   {nil, nil},
		"Failure":     {errFailed, []string{"logs"}},
		"Interrupted": {context.Canceled, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := system{dir: filepath.Join(t.TempDir(), "system")}
			for _, dir := range []string{"logs", "postgres"} {
				require.NoError(t, os.MkdirAll(filepath.Join(s.dir, dir), 0o700))
			}
			require.ErrorIs(t, s.stop(t.Context(), tt.failure), tt.failure)
			found, err := os.ReadDir(s.dir)
			if tt.left == nil {
				require.ErrorIs(t, err, os.ErrNotExist)
				return
			}
			require.NoError(t, err)
			require.Len(t, found, 1)
			require.Equal(t, tt.left[0], found[0].Name())
		})
	}
	require.NoError(t, (&system{}).stop(t.Context(), nil), "a system that was not started")
}
