package cluster

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// ownGroup gives a child its own process group, and lets the kernel end it when
// its parent is gone. SIGKILL, because etcd is gone with the house too, and an
// API server without etcd waits a minute for it before it obeys SIGTERM.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// birthOf reads who the process pid is. A zombie is nobody.
func birthOf(pid int) (birth, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return birth{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return birth{}, err
	}
	// The second field is the program's name in parentheses, which may hold any
	// character; the start time is the 22nd field, the state the third.
	end := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[end+1:]))
	if end < 0 || len(fields) < 20 || fields[0] == "Z" {
		return birth{}, fmt.Errorf("process %d has ended", pid)
	}
	return birth{PID: pid, Boot: strings.TrimSpace(string(boot)), Start: fields[19]}, nil
}
