// Command dapr-chart prints what Dapr's own Helm chart installs, so that it can be had without Helm and without its repository: the
// chart lies in the module that tools/daprd pins. It is what `dapr init -k` gives a cluster, with two differences: images are those of
// tools/images, and what the scheduler keeps is in memory, since nothing here gives it work.
//
//	go run -C tools/dapr-chart . -crds | kubectl apply --server-side -f -
//	kubectl wait --for=condition=Established crd --all
//	go run -C tools/dapr-chart . -set dapr_sidecar_injector.sidecarDropALLCapabilities=true | kubectl apply --server-side -f -
//
// The custom resources come by themselves, as with Helm, because what is made of one is only accepted once it is established.
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

// defaults have every program of the control plane in one image.
const defaults = "global.registry=eventbooking.local,global.tag=%s," +
	"dapr_operator.image.name=dapr,dapr_placement.image.name=dapr,dapr_scheduler.image.name=dapr,dapr_sentry.image.name=dapr," +
	"dapr_sidecar_injector.injectorImage.name=dapr," +
	"dapr_scheduler.cluster.inMemoryStorage=true"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	namespace := flag.String("namespace", "dapr-system", "where the control plane goes")
	crds := flag.Bool("crds", false, "print the definitions of custom resources, and nothing else")
	var set []string
	flag.Func("set", "a value of the chart, as in `name=value`; may be repeated", func(value string) error {
		set = append(set, value)
		return nil
	})
	flag.Parse()

	module, version, err := dapr()
	if err != nil {
		return err
	}
	dapr, err := loader.Load(filepath.Join(module, "charts", "dapr"))
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

// dapr is the directory and the version, without its v, of the module that tools/daprd pins.
func dapr() (dir, version string, err error) {
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", "github.com/dapr/dapr")
	list.Dir, list.Stderr = "../daprd", os.Stderr
	out, err := list.Output()
	if err != nil {
		return "", "", fmt.Errorf("find Dapr's module: %w", err)
	}
	dir, version, ok := strings.Cut(string(bytes.TrimSpace(out)), " v")
	if !ok || dir == "" {
		return "", "", errors.New("the module of Dapr is not there; `go mod download github.com/dapr/dapr` in tools/daprd brings it")
	}
	return dir, version, nil
}

// render gives what the chart makes of the values, in the order in which Helm installs it.
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
		return nil, fmt.Errorf("put the chart's values together: %w", err)
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
		return nil, fmt.Errorf("sort what was rendered: %w", err)
	}
	if len(hooks) > 0 {
		return nil, fmt.Errorf("the chart has hooks, such as %s, which nobody would run", hooks[0].Path)
	}
	return manifests, nil
}
