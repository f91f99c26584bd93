//go:build unix && !linux

package cluster

import (
	"errors"
	"syscall"
)

// ownGroup gives a child its own process group. Only Linux can end a child when
// its parent is killed; elsewhere a killed house leaves its control planes running
// and the next start reports that their port is taken.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func birthOf(int) (birth, error) {
	return birth{}, errors.New("this system does not tell when a process started")
}
