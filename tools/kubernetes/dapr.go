package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"sigs.k8s.io/yaml"
)

const daprGroup = "dapr.io"

// definition is one version of the definition of a custom resource.
type definition struct {
	structural *schema.Structural
	validator  validation.SchemaValidator
}

// definitions has Dapr's custom resources, by apiVersion and kind.
type definitions map[string]definition

// daprModule returns the directory of the Dapr module that tools/daprd pins.
func daprModule() (string, error) {
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/dapr/dapr")
	list.Dir, list.Stderr = "../daprd", os.Stderr
	dir, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("find Dapr's module: %w", err)
	}
	if len(bytes.TrimSpace(dir)) == 0 {
		return "", errors.New("Dapr's module is missing: run `go mod download github.com/dapr/dapr` in tools/daprd")
	}
	return string(bytes.TrimSpace(dir)), nil
}

// annotationKey matches an annotation in the injector's source. The injector ignores annotations that it does not know.
var annotationKey = regexp.MustCompile(`"(dapr\.io/[a-z0-9-]+)"`)

// daprAnnotations returns the annotations that the injector knows.
func daprAnnotations(module string) (map[string]bool, error) {
	text, err := os.ReadFile(filepath.Join(module, "pkg", "injector", "annotations", "annotations.go"))
	if err != nil {
		return nil, fmt.Errorf("read the injector's annotations: %w", err)
	}
	known := map[string]bool{}
	for _, found := range annotationKey.FindAllSubmatch(text, -1) {
		known[string(found[1])] = true
	}
	return known, nil
}

// daprSchemas reads the definitions of custom resources in Dapr's chart.
func daprSchemas(module string) (definitions, error) {
	files, err := filepath.Glob(filepath.Join(module, "charts", "dapr", "crds", "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(errors.New("no custom resource definitions in Dapr's chart"), err)
	}
	known := definitions{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read a definition: %w", err)
		}
		if err := known.add(text); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
	}
	return known, nil
}

// add adds all versions of the definition in a document.
func (d definitions) add(text []byte) error {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &crd); err != nil {
		return fmt.Errorf("read a definition: %w", err)
	}
	for _, v := range crd.Spec.Versions {
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			continue
		}
		var props apiextensions.JSONSchemaProps
		convert := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps
		if err := convert(v.Schema.OpenAPIV3Schema, &props, nil); err != nil {
			return fmt.Errorf("convert the schema of %s: %w", v.Name, err)
		}
		structural, err := schema.NewStructural(&props)
		if err != nil {
			return fmt.Errorf("read the schema of %s: %w", v.Name, err)
		}
		validator, _, err := validation.NewSchemaValidator(&props)
		if err != nil {
			return fmt.Errorf("read the schema of %s: %w", v.Name, err)
		}
		d[crd.Spec.Group+"/"+v.Name+" "+crd.Spec.Names.Kind] = definition{structural, validator}
	}
	return nil
}

// check returns an error with what an API server would refuse in a resource, and with fields that it would drop.
func (d definitions) check(text []byte) error {
	var object map[string]any
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	kind := fmt.Sprintf("%s %s", object["apiVersion"], object["kind"])
	def, ok := d[kind]
	if !ok {
		return fmt.Errorf("Dapr defines no %s", kind)
	}
	var wrong []error
	for _, e := range validation.ValidateCustomResource(nil, object, def.validator) {
		wrong = append(wrong, e)
	}
	track := schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	unknown := pruning.PruneWithOptions(object, def.structural, true, track)
	for _, path := range unknown {
		wrong = append(wrong, fmt.Errorf("unknown field %s", path))
	}
	return errors.Join(wrong...)
}
