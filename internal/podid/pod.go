package podid

// A Pod is what pod identity depends on of a pod.
type Pod struct {
	Namespace, Name string
	UID             string // given by the API server
	NodeName        string // "" before it is scheduled
	Labels          map[string]string
	// HostNetwork shares the node's address, so that nobody can tell the pod's
	// requests from the node's own.
	HostNetwork bool
	// Ended is a pod in phase Succeeded or Failed: it may keep its address in the
	// API while another pod has it on the wire.
	Ended bool
}

// Ref is how the pod is named.
func (p Pod) Ref() Ref { return Ref{p.Namespace, p.Name} }

// eligible reports whether the pod can have an identity by pod identity at all.
func (p Pod) eligible() bool {
	return p.UID != "" && p.NodeName != "" && !p.HostNetwork && !p.Ended
}
