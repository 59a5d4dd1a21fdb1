// Package node starts a Kubernetes cluster of one node for the duration of a test. It needs root, Debian's packages and
// Go's modules, but no container registry. It also works on a machine without Internet access.
//
// For the kernel, the node is a machine of its own: its processes have their own namespaces for processes, mounts,
// network and host name (tools/node). Containers, network interfaces, iptables rules and anything else that they create
// disappears with the namespaces. So a node that is killed leaves as little behind as one that is closed: empty control
// groups and the files in its directory. It cannot change kernel settings that exist only once on a machine.
//
// A pair of network interfaces connects the node with the machine that it runs on. That machine reaches pods, services
// and the API server by their addresses, as the load balancer of an ingress controller would. The node has no route to
// anywhere else.
//
// All components are those of real clusters (etcd, the control plane, kubelet, kube-proxy, CoreDNS, containerd, runc),
// with TLS, Node and RBAC authorization, and the default admission plugins. A component that ends is not restarted. The
// node has no network plugin that enforces network policies, no ingress controller, load balancers or metrics, and
// cannot pull images; see [Node.Import].
package node
