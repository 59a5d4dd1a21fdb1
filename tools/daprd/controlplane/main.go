// Command controlplane is Dapr's control plane in one binary: operator, injector, sentry, placement and scheduler,
// unchanged. The name under which it is called selects the program. One binary is linked, stored and loaded into a
// cluster only once.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	injector "github.com/dapr/dapr/cmd/injector/app"
	operator "github.com/dapr/dapr/cmd/operator/app"
	placement "github.com/dapr/dapr/cmd/placement/app"
	scheduler "github.com/dapr/dapr/cmd/scheduler/app"
	sentry "github.com/dapr/dapr/cmd/sentry/app"
)

func main() {
	programs := map[string]func(){
		"operator": operator.Run, "injector": injector.Run, "sentry": sentry.Run,
		"placement": placement.Run, "scheduler": scheduler.Run,
	}
	run, ok := programs[filepath.Base(os.Args[0])]
	if !ok {
		fmt.Fprintln(os.Stderr, "call this program under the name operator, injector, sentry, placement or scheduler")
		os.Exit(2)
	}
	run()
}
