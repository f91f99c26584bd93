//go:build linux

package wiring

// PodOf is which pod a process is of, by the file cgroup in its directory.
var PodOf = podOf
