package stack

import (
	"context"
	"errors"
)

// Stack is a running system seen from outside.
type Stack struct {
	cfg  Config
	apps []*App
}

// App is one of the eight apps with its sidecar.
type App struct {
	ID string
	// Process and Sidecar are set in a stack made by Start, whose processes belong to the caller.
	Process, Sidecar *Process

	port, sidecarPort int
}

// Process is one process of a stack.
type Process struct {
	Name string
	// Log is the file that takes its output.
	Log string
}

// Up brings up everything that is not up yet, waits until all of it is healthy, and leaves it running.
func Up(ctx context.Context, cfg Config) (*Stack, error) { return nil, errors.New("not yet") }

// Down stops everything that Up left running, apps before the servers they use. The data stays.
func Down(ctx context.Context, cfg Config) error { return errors.New("not yet") }

// Start runs a whole stack as children of this process and waits until it is healthy. The caller must Stop it, which
// holds for a failed Start as well.
func Start(ctx context.Context, cfg Config) (*Stack, error) { return nil, errors.New("not yet") }

// Stop ends a stack made by Start: apps first, so that they finish what they are at, then sidecars, then servers.
func (s *Stack) Stop(ctx context.Context) error { return errors.New("not yet") }

// App is the app of that id, or nil.
func (s *Stack) App(id string) *App {
	for _, a := range s.apps {
		if a.ID == id {
			return a
		}
	}
	return nil
}

// Apps are all apps in the order of dapr.yaml.
func (s *Stack) Apps() []*App { return s.apps }

// DatabaseURL is the URL of a service's own database with its own role.
func (s *Stack) DatabaseURL(appID string) string { return "" }

// MailURL is where the mail sink's web page and REST API are; empty with a person's own mail server.
func (s *Stack) MailURL() string { return "http://" + loopback(s.cfg.MailWebPort) }

// StripeURL is where the Stripe simulator is; empty with the real Stripe.
func (s *Stack) StripeURL() string { return "http://" + loopback(s.cfg.StripeSimulatorPort) }

// AWSEndpoint is where SNS and SQS are.
func (s *Stack) AWSEndpoint() string { return "" }

// APIToken is what a sidecar shows its app (APP_API_TOKEN).
func (s *Stack) APIToken() string { return "" }

// URL is the app's own address.
func (a *App) URL() string { return "http://" + loopback(a.port) }

// SidecarURL is the address of the Dapr API of the app's sidecar. A call with the header dapr-app-id, at the path of the
// app that it names, is a service invocation.
func (a *App) SidecarURL() string { return "http://" + loopback(a.sidecarPort) }

// Start runs the process again after it ended or was killed; it does not wait for it to be healthy (WaitHealthy does).
func (p *Process) Start() error { return errors.New("not yet") }

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() error { return errors.New("not yet") }

// Pause freezes the process (SIGSTOP) until Resume.
func (p *Process) Pause() error { return errors.New("not yet") }

// Resume continues a paused process.
func (p *Process) Resume() error { return errors.New("not yet") }

// WaitHealthy waits until every app is ready, every sidecar is healthy and every queue is subscribed.
func (s *Stack) WaitHealthy(ctx context.Context) error { return errors.New("not yet") }
