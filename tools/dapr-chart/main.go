// Command dapr-chart prints the manifests of Dapr's Helm chart, so that Dapr can be installed without Helm and without
// the chart's repository. The chart is part of the Go module that tools/daprd pins. The result is what `dapr init -k`
// installs, with two differences: the images are those of tools/images, and the scheduler stores its data in memory,
// because no app schedules jobs.
//
//	go run -C tools/dapr-chart . -crds | kubectl apply --server-side -f -
//	kubectl wait --for=condition=Established crd --all
//	go run -C tools/dapr-chart . -set dapr_sidecar_injector.sidecarDropALLCapabilities=true |
//	    kubectl apply --server-side -f -
//
// The definitions of custom resources are printed separately, as with Helm: the cluster accepts a custom resource only
// when its definition is established.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	"helm.sh/helm/v3/pkg/strvals"
)

// defaults are the values of the chart: all programs of the control plane are in one image. The verb is the version.
const defaults = "global.registry=eventbooking.local,global.tag=%s," +
	"dapr_operator.image.name=dapr,dapr_placement.image.name=dapr," +
	"dapr_scheduler.image.name=dapr,dapr_sentry.image.name=dapr," +
	"dapr_sidecar_injector.injectorImage.name=dapr," +
	"dapr_scheduler.cluster.inMemoryStorage=true"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	namespace := flag.String("namespace", "dapr-system", "`namespace` of the control plane")
	crds := flag.Bool("crds", false, "print only the definitions of custom resources")
	var set []string
	flag.Func("set", "set a value of the chart to `name=value`; may be repeated", func(value string) error {
		set = append(set, value)
		return nil
	})
	flag.Parse()

	dir, version, err := daprModule()
	if err != nil {
		return err
	}
	dapr, err := loader.Load(filepath.Join(dir, "charts", "dapr"))
	if err != nil {
		return fmt.Errorf("read Dapr's chart: %w", err)
	}
	if *crds {
		for _, crd := range dapr.CRDObjects() {
			fmt.Printf("---\n%s\n", crd.File.Data)
		}
		return nil
	}
	manifests, err := render(dapr, *namespace, append([]string{fmt.Sprintf(defaults, version)}, set...))
	if err != nil {
		return err
	}
	fmt.Printf("---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n", *namespace)
	for _, m := range manifests {
		fmt.Printf("---\n%s\n", m.Content)
	}
	return nil
}

// daprModule returns the directory and the version, without the v, of the Dapr module that tools/daprd pins.
func daprModule() (dir, version string, err error) {
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", "github.com/dapr/dapr")
	list.Dir, list.Stderr = "../daprd", os.Stderr
	out, err := list.Output()
	if err != nil {
		return "", "", fmt.Errorf("find Dapr's module: %w", err)
	}
	dir, version, ok := strings.Cut(string(bytes.TrimSpace(out)), " v")
	if !ok || dir == "" {
		return "", "", errors.New("Dapr's module is missing: run `go mod download github.com/dapr/dapr` in tools/daprd")
	}
	return dir, version, nil
}

// render renders the chart with the given values. The manifests are in the order in which Helm installs them.
func render(dapr *chart.Chart, namespace string, set []string) ([]releaseutil.Manifest, error) {
	values := map[string]any{}
	for _, s := range set {
		if err := strvals.ParseInto(s, values); err != nil {
			return nil, fmt.Errorf("-set %s: %w", s, err)
		}
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = chartutil.KubeVersion{Version: "v1.34.1", Major: "1", Minor: "34"}
	all, err := chartutil.ToRenderValues(dapr, values, chartutil.ReleaseOptions{
		Name: "dapr", Namespace: namespace, Revision: 1, IsInstall: true,
	}, capabilities)
	if err != nil {
		return nil, fmt.Errorf("prepare the chart's values: %w", err)
	}
	files, err := engine.Render(dapr, all)
	if err != nil {
		return nil, fmt.Errorf("render the chart: %w", err)
	}
	for name := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			delete(files, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(files, capabilities.APIVersions, releaseutil.InstallOrder)
	if err != nil {
		return nil, fmt.Errorf("sort the manifests: %w", err)
	}
	if len(hooks) > 0 {
		return nil, fmt.Errorf("the chart has hooks, such as %s, which would not be run", hooks[0].Path)
	}
	return manifests, nil
}
