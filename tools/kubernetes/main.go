// Command kubernetes renders the overlays of deploy/kubernetes as `kubectl kustomize` does, and validates them without
// an API server. It checks every document strictly against the Go types of Kubernetes or the schemas of Dapr's custom
// resources, and every pod against the level "restricted" of Pod Security.
//
//	go run -C tools/kubernetes . render overlays/local
//	go run -C tools/kubernetes . check overlays/local overlays/aws
//
// Paths are relative to deploy/kubernetes.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// manifests is the directory of the overlays, relative to this module.
const manifests = "../../deploy/kubernetes"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "render":
		return render(args[1])
	case len(args) > 1 && args[0] == "check":
		return check(args[1:])
	}
	return errors.New("usage: kubernetes render OVERLAY | kubernetes check OVERLAY...")
}

func render(overlay string) error {
	resources, err := build(overlay)
	if err != nil {
		return err
	}
	text, err := resources.AsYaml()
	if err != nil {
		return fmt.Errorf("write %s: %w", overlay, err)
	}
	_, err = os.Stdout.Write(text)
	return err
}

// build renders an overlay with the rules of kubectl, which allow no files outside the directory of a kustomization.
func build(overlay string) (resmap.ResMap, error) {
	kustomizer := krusty.MakeKustomizer(krusty.MakeDefaultOptions())
	resources, err := kustomizer.Run(filesys.MakeFsOnDisk(), filepath.Join(manifests, overlay))
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", overlay, err)
	}
	return resources, nil
}

// check validates overlays and prints the number of resources of each kind.
func check(overlays []string) error {
	module, err := daprModule()
	if err != nil {
		return err
	}
	schemas, err := daprSchemas(module)
	if err != nil {
		return err
	}
	annotations, err := daprAnnotations(module)
	if err != nil {
		return err
	}
	var wrong []error
	for _, overlay := range overlays {
		resources, err := build(overlay)
		if err != nil {
			return err
		}
		kinds := map[string]int{}
		for _, r := range resources.Resources() {
			text, err := r.AsYAML()
			if err != nil {
				return fmt.Errorf("write %s of %s: %w", r.CurId(), overlay, err)
			}
			if r.GetGvk().Group == daprGroup {
				err = schemas.check(text)
			} else {
				err = checkBuiltin(text, annotations)
			}
			if err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %s %s: %w", overlay, r.GetKind(), r.GetName(), err))
			}
			kinds[r.GetKind()]++
		}
		var counts []string
		for kind, n := range kinds {
			counts = append(counts, fmt.Sprintf("%d %s", n, kind))
		}
		slices.Sort(counts)
		fmt.Printf("%s: %s\n", overlay, strings.Join(counts, ", "))
	}
	return errors.Join(wrong...)
}
