package node

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

// The configuration files of the node's components. Each is a template for settings.
var (
	//go:embed files
	files embed.FS

	templates = template.Must(template.ParseFS(files, "files/*"))
)

type settings struct {
	Dir, Name, Address, Pods string
	Pause, Plugins           string
	User                     string // of a kubeconfig
	Volumes                  []string
}

// volumes is the number of persistent volumes, and so of volume claims that can be bound.
const volumes = 8

// etc returns the path of a configuration file of the node.
func (n *Node) etc(name string) string { return filepath.Join(n.dir, "etc", name) }

// configure writes the configuration files of the node's components.
func (n *Node) configure() error {
	s := settings{
		Dir: n.dir, Name: n.network.name(), Address: n.network.address(), Pods: n.network.pods(),
		Pause: PauseImage, Plugins: plugins,
	}
	for i := range volumes {
		s.Volumes = append(s.Volumes, fmt.Sprintf("volume-%d", i+1))
		if err := os.MkdirAll(filepath.Join(n.dir, "volumes", s.Volumes[i]), 0o755); err != nil {
			return fmt.Errorf("create a volume: %w", err)
		}
	}
	for source, file := range map[string]string{
		"cluster.yaml": "cluster.yaml", "containerd.toml": "containerd.toml", "pods.conflist": "cni/pods.conflist",
		"kubelet.yaml": "kubelet.yaml", "resolv.conf": "resolv.conf", "kube-proxy.yaml": "kube-proxy.yaml",
		"Corefile": "Corefile",
	} {
		if err := n.write(source, file, s); err != nil {
			return err
		}
	}
	users, err := n.certify()
	if err != nil {
		return err
	}
	for _, s.User = range users {
		if err := n.write("kubeconfig.yaml", s.User+".conf", s); err != nil {
			return err
		}
	}
	return nil
}

// write executes a template and writes the result to a configuration file.
func (n *Node) write(source, name string, s settings) error {
	path := n.etc(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer file.Close()
	if err := templates.ExecuteTemplate(file, source, s); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
