package app_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// usesServiceSecret matches the access of a service that makes [app.Connect] read the service secret.
var usesServiceSecret = regexp.MustCompile(`\bapp\.(AcceptsServices|CallsServices)\b`)

// A service that knows the secret could sign tokens in the name of any other service.
func TestOnlyServicesThatUseTheServiceSecretMayReadIt(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(root + "deploy/local/config/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		var configuration struct {
			Spec struct {
				Secrets struct {
					Scopes []struct {
						AllowedSecrets []string `yaml:"allowedSecrets"`
					}
				}
			}
		}
		readYAML(t, strings.TrimPrefix(file, root), &configuration)
		require.Len(t, configuration.Spec.Secrets.Scopes, 1, file)
		service := strings.TrimSuffix(filepath.Base(file), ".yaml")
		code, err := os.ReadFile(filepath.Join(root, "services", service, "main.go"))
		require.NoError(t, err)
		if usesServiceSecret.Match(code) {
			require.Contains(t, configuration.Spec.Secrets.Scopes[0].AllowedSecrets, "service-auth-secret", service)
		} else {
			require.NotContains(t, configuration.Spec.Secrets.Scopes[0].AllowedSecrets, "service-auth-secret", service)
		}
	}
}
