// Package node starts a Kubernetes cluster of one node for the time of a test, on a machine that has Debian's packages, Go's
// modules and root, but no container registry and perhaps no way out at all.
//
// The node is a machine of its own as far as the kernel goes: its processes share namespaces for processes, mounts, network and
// host name (tools/node), and whatever they make there, be it containers, network interfaces or rules of iptables, is gone when
// the namespaces are. So a node that is killed leaves no more behind than one that is closed: empty control groups and the
// files below its directory. It cannot change settings that the machine has only once.
//
// One pair of interfaces joins the node to the machine around it, which can reach pods, services and the API server by their
// addresses, as an ingress controller's load balancer would. Nothing goes any further: the node has no route to anywhere else.
//
// Everything is what runs on real clusters (etcd, the control plane, kubelet, kube-proxy, CoreDNS, containerd, runc), with TLS,
// Node and RBAC authorization, and the default admission plugins. What ends is not started again. Not there: a network plugin
// that enforces network policies, an ingress controller, load balancers, metrics, and a way to fetch images; see [Node.Import].
package node
