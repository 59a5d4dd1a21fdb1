package app_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const root = "../../../"

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(root + file)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, into), file)
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}

func TestShutdownWaitsForTheLongestRequest(t *testing.T) {
	t.Parallel()
	require.Greater(t, app.ShutdownTimeout, web.RequestTimeout)
}

func TestLocalStackWaitsForTheShutdownOfAnApp(t *testing.T) {
	t.Parallel()
	require.Greater(t, stack.AppGrace, app.ShutdownTimeout)
}

func TestKubernetesWaitsForTheShutdownOfAnApp(t *testing.T) {
	t.Parallel()
	var deployment struct {
		Spec struct {
			Template struct {
				Metadata struct {
					Annotations struct {
						BlockShutdown    string `yaml:"dapr.io/block-shutdown-duration"`
						GracefulShutdown string `yaml:"dapr.io/graceful-shutdown-seconds"`
					}
				}
				Spec struct {
					TerminationGracePeriodSeconds int `yaml:"terminationGracePeriodSeconds"`
					Containers                    []struct {
						Name      string
						Lifecycle struct {
							PreStop struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
						}
					}
				}
			}
		}
	}
	readYAML(t, "deploy/kubernetes/base/deployment.yaml", &deployment)
	annotations, pod := deployment.Spec.Template.Metadata.Annotations, deployment.Spec.Template.Spec
	require.Len(t, pod.Containers, 1)
	preStop := time.Duration(pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second
	require.NotZero(t, preStop)
	blocked := duration(t, annotations.BlockShutdown)
	require.Greater(t, blocked, preStop+app.ShutdownTimeout, "the sidecar stays as long as its app")
	graceful := duration(t, annotations.GracefulShutdown+"s")
	require.NotZero(t, graceful)
	killed := time.Duration(pod.TerminationGracePeriodSeconds) * time.Second
	require.Greater(t, killed, blocked+graceful, "the pod is killed only after both have stopped")
}

func TestLoadBalancerKeepsConnectionsForTheLongestRequest(t *testing.T) {
	t.Parallel()
	var ingress struct {
		Metadata struct{ Annotations map[string]string }
	}
	readYAML(t, "deploy/kubernetes/overlays/aws/ingress.yaml", &ingress)
	attributes := ingress.Metadata.Annotations["alb.ingress.kubernetes.io/target-group-attributes"]
	_, delay, found := strings.Cut(attributes, "deregistration_delay.timeout_seconds=")
	require.True(t, found)
	seconds, err := strconv.Atoi(delay)
	require.NoError(t, err)
	require.Greater(t, time.Duration(seconds)*time.Second, web.RequestTimeout)
}

func TestRequestTimeoutCoversTheTimeoutOfEachQueue(t *testing.T) {
	t.Parallel()
	var policies struct {
		Spec struct {
			Policies struct{ Timeouts map[string]string }
			Targets  struct {
				Components map[string]struct{ Inbound struct{ Timeout string } }
			}
		}
	}
	readYAML(t, "resiliency/components.yaml", &policies)
	queues := 0
	for name, component := range policies.Spec.Targets.Components {
		if policy := component.Inbound.Timeout; policy != "" {
			queues++
			require.Greater(t, web.RequestTimeout, duration(t, policies.Spec.Policies.Timeouts[policy]), name)
		}
	}
	require.NotZero(t, queues)
}
