package main

import (
	"errors"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// checkBuiltin decodes a resource of Kubernetes itself into its Go type, and returns an error for unknown fields,
// repeated fields and values of a wrong type. It also checks the resource's pods against Pod Security and against the
// annotations of Dapr.
func checkBuiltin(text []byte, annotations map[string]bool) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("register types: %w", err)
		}
	}
	options := json.SerializerOptions{Yaml: true, Strict: true}
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, options)
	object, _, err := decoder.Decode(text, nil, nil)
	if err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	switch o := object.(type) {
	case *appsv1.Deployment:
		return checkPod(o.Spec.Template, annotations)
	case *appsv1.StatefulSet:
		return checkPod(o.Spec.Template, annotations)
	}
	return nil
}

func checkPod(pod corev1.PodTemplateSpec, annotations map[string]bool) error {
	for key := range pod.Annotations {
		if strings.HasPrefix(key, daprGroup+"/") && !annotations[key] {
			return fmt.Errorf("Dapr's injector does not know the annotation %s", key)
		}
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		return fmt.Errorf("load Pod Security's checks: %w", err)
	}
	level := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
	if !result.Allowed {
		return errors.New("violates the level restricted: " + result.ForbiddenDetail())
	}
	return nil
}
