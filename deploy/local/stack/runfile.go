package stack

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// runFile is dapr.yaml. A key that is not listed here is an error, because the dapr CLI silently ignores a misspelt
// key.
type runFile struct {
	Version int       `yaml:"version"`
	Name    string    `yaml:"name"`
	Common  runCommon `yaml:"common"`
	Apps    []runApp  `yaml:"apps"`
}

type runCommon struct {
	RuntimePath            string            `yaml:"runtimePath"`
	ResourcesPaths         []string          `yaml:"resourcesPaths"`
	APIListenAddresses     string            `yaml:"apiListenAddresses"`
	PlacementHostAddress   string            `yaml:"placementHostAddress"`
	SchedulerHostAddress   string            `yaml:"schedulerHostAddress"`
	EnableAppHealthCheck   bool              `yaml:"enableAppHealthCheck"`
	AppHealthCheckPath     string            `yaml:"appHealthCheckPath"`
	AppHealthProbeInterval int               `yaml:"appHealthProbeInterval"`
	AppHealthProbeTimeout  int               `yaml:"appHealthProbeTimeout"`
	AppHealthThreshold     int               `yaml:"appHealthThreshold"`
	AppLogDestination      string            `yaml:"appLogDestination"`
	DaprdLogDestination    string            `yaml:"daprdLogDestination"`
	Env                    map[string]string `yaml:"env,omitempty"`
}

type runApp struct {
	AppID                string            `yaml:"appID"`
	AppDirPath           string            `yaml:"appDirPath"`
	Command              []string          `yaml:"command"`
	ConfigFilePath       string            `yaml:"configFilePath"`
	AppPort              int               `yaml:"appPort"`
	DaprHTTPPort         int               `yaml:"daprHTTPPort"`
	DaprGRPCPort         int               `yaml:"daprGRPCPort"`
	DaprInternalGRPCPort int               `yaml:"daprInternalGRPCPort"`
	MetricsPort          int               `yaml:"metricsPort"`
	AppMaxConcurrency    int               `yaml:"appMaxConcurrency,omitempty"`
	Env                  map[string]string `yaml:"env,omitempty"`

	// name is AppID, and AppID with "-2" for a replica.
	name string
}

// ports returns all ports that the app and its sidecar listen on.
func (a *runApp) ports() []*int {
	return []*int{&a.AppPort, &a.DaprHTTPPort, &a.DaprGRPCPort, &a.DaprInternalGRPCPort, &a.MetricsPort}
}

// replica returns a second instance of the app, with its own name and ports.
func (a *runApp) replica() runApp {
	r := *a
	r.name += "-2"
	for _, port := range r.ports() {
		*port += replicaShift
	}
	return r
}

// readApps reads dapr.yaml, with absolute paths, the ports of this stack, and its replicas.
func (c *Config) readApps() (*runFile, error) {
	path := filepath.Join(c.Root, "dapr.yaml")
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read dapr.yaml: %w", err)
	}
	if c.Overlay != nil {
		if content, err = c.Overlay("dapr.yaml", content); err != nil {
			return nil, fmt.Errorf("change dapr.yaml: %w", err)
		}
	}
	var f runFile
	dec := yaml.NewDecoder(bytes.NewReader(content))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.Common.RuntimePath = c.DataDir
	for i, p := range f.Common.ResourcesPaths {
		if f.Common.ResourcesPaths[i], err = c.resources(p); err != nil {
			return nil, err
		}
	}
	for i := range f.Apps {
		a := &f.Apps[i]
		if len(a.Command) == 0 {
			return nil, fmt.Errorf("%s: %s has no command", path, a.AppID)
		}
		a.ConfigFilePath = filepath.Join(c.Root, a.AppDirPath, a.ConfigFilePath)
		a.Command[0] = c.bin(filepath.Base(a.Command[0]))
		a.AppDirPath = c.DataDir
		a.name = a.AppID
		for _, port := range a.ports() {
			*port += c.PortOffset
		}
	}
	for _, id := range c.Replicas {
		i := slices.IndexFunc(f.Apps, func(a runApp) bool { return a.AppID == id })
		if i < 0 {
			return nil, fmt.Errorf("%s has no app %s to replicate", path, id)
		}
		f.Apps = append(f.Apps, f.Apps[i].replica())
	}
	return &f, nil
}

// resources returns the directory with the resources of dir: dir itself, or with an overlay the directory with the
// changed copies.
func (c *Config) resources(dir string) (string, error) {
	if c.Overlay == nil {
		return filepath.Join(c.Root, dir), nil
	}
	copied := filepath.Join(c.DataDir, "overlay", dir)
	if err := os.MkdirAll(copied, 0o755); err != nil {
		return "", fmt.Errorf("change the resources: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(c.Root, dir, "*.yaml"))
	if err != nil {
		return "", fmt.Errorf("change the resources: %w", err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		content, err := os.ReadFile(path)
		if err == nil {
			content, err = c.Overlay(filepath.Join(dir, name), content)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(copied, name), content, 0o600)
		}
		if err != nil {
			return "", fmt.Errorf("change %s: %w", filepath.Join(dir, name), err)
		}
	}
	return copied, nil
}

func appClaims(f *runFile) []claim {
	var claims []claim
	for _, a := range f.Apps {
		sidecar := "the sidecar of " + a.name
		claims = append(claims,
			claim{a.name, a.AppPort, ""}, claim{sidecar, a.DaprHTTPPort, ""}, claim{sidecar, a.DaprGRPCPort, ""},
			claim{sidecar, a.DaprInternalGRPCPort, ""}, claim{sidecar, a.MetricsPort, ""})
	}
	return claims
}

// daprdArgs returns the arguments with which the dapr CLI starts the sidecar of an app.
func (f *runFile) daprdArgs(a runApp) []string {
	args := []string{
		"--app-id", a.AppID,
		"--app-port", strconv.Itoa(a.AppPort),
		"--dapr-http-port", strconv.Itoa(a.DaprHTTPPort),
		"--dapr-grpc-port", strconv.Itoa(a.DaprGRPCPort),
		"--dapr-internal-grpc-port", strconv.Itoa(a.DaprInternalGRPCPort),
		"--metrics-port", strconv.Itoa(a.MetricsPort),
		"--config", a.ConfigFilePath,
		"--dapr-listen-addresses", f.Common.APIListenAddresses,
	}
	for _, p := range f.Common.ResourcesPaths {
		args = append(args, "--resources-path", p)
	}
	if f.Common.EnableAppHealthCheck {
		args = append(args,
			"--enable-app-health-check",
			"--app-health-check-path", f.Common.AppHealthCheckPath,
			"--app-health-probe-interval", strconv.Itoa(f.Common.AppHealthProbeInterval),
			"--app-health-probe-timeout", strconv.Itoa(f.Common.AppHealthProbeTimeout),
			"--app-health-threshold", strconv.Itoa(f.Common.AppHealthThreshold))
	}
	if a.AppMaxConcurrency > 0 {
		args = append(args, "--app-max-concurrency", strconv.Itoa(a.AppMaxConcurrency))
	}
	return args
}

// appEnv returns the variables that the dapr CLI adds to the environment of an app.
func (f *runFile) appEnv(a runApp) []string {
	env := []string{
		"APP_ID=" + a.AppID,
		"APP_PORT=" + strconv.Itoa(a.AppPort),
		"DAPR_HTTP_PORT=" + strconv.Itoa(a.DaprHTTPPort),
		"DAPR_GRPC_PORT=" + strconv.Itoa(a.DaprGRPCPort),
		"DAPR_METRICS_PORT=" + strconv.Itoa(a.MetricsPort),
	}
	for _, vars := range []map[string]string{f.Common.Env, a.Env} {
		for _, name := range slices.Sorted(maps.Keys(vars)) {
			env = append(env, name+"="+vars[name])
		}
	}
	return env
}
