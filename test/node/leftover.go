package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	cgroupDir = "/sys/fs/cgroup"
	prefix    = "gatehouse-node-"
)

// leftover is what a machine leaves behind when its test is killed, by the process
// that started it: the name of a folder, and of the cgroup below which kubelet makes
// those of pods.
func leftover(pid int) string { return prefix + strconv.Itoa(pid) }

// hierarchies are the roots of the machine's cgroups: one of version 2, or several
// of version 1.
func hierarchies() ([]string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var roots []string
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && (f[2] == "cgroup" || f[2] == "cgroup2") && strings.HasPrefix(f[1], cgroupDir) {
			roots = append(roots, f[1])
		}
	}
	if len(roots) == 0 {
		return nil, errors.New("no cgroups are mounted below " + cgroupDir)
	}
	return roots, nil
}

func makeCgroups(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		at := filepath.Join(root, name)
		if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make a cgroup: %w", err)
		}
		// In version 1 a cpuset is empty at first, and takes no process.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if own, err := os.ReadFile(filepath.Join(at, file)); err != nil || strings.TrimSpace(string(own)) != "" {
				continue
			}
			if all, err := os.ReadFile(filepath.Join(root, file)); err == nil {
				if err := os.WriteFile(filepath.Join(at, file), all, 0); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// removeCgroups removes what is empty, and nothing else can be removed.
func removeCgroups(name string) {
	roots, _ := hierarchies()
	for _, root := range roots {
		var dirs []string
		filepath.WalkDir(filepath.Join(root, name), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			os.Remove(dirs[i])
		}
	}
}

// sweep removes what tests have left that were killed.
func sweep() {
	roots, _ := hierarchies()
	for _, root := range append(roots, os.TempDir()) {
		left, _ := filepath.Glob(filepath.Join(root, prefix+"*"))
		for _, at := range left {
			pid := strings.TrimPrefix(filepath.Base(at), prefix)
			if _, err := os.Stat("/proc/" + pid); errors.Is(err, fs.ErrNotExist) {
				removeCgroups(filepath.Base(at))
				os.Remove(at)
			}
		}
	}
}
