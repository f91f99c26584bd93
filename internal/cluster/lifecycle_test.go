package cluster_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
)

func TestRestartFindsTheClusterAgain(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	conf := config(t, s)
	first := start(t, conf)
	server, ca, key := first.Server(), string(first.CA()), string(must(first.ServiceAccountKey()))
	s.says(map[string]any{"allowed": false})
	admin := must(first.IssueLocalAdmin(anna, time.Hour))
	s.knows(user("eve@example.com"))
	as(t, first, "", must(admin.Pair.TLS())).post(t, "/api/v1/namespaces", `{"metadata":{"name":"kept"}}`, http.StatusCreated)

	if _, err := cluster.Start(t.Context(), conf); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second house over the same directory: %v", err)
	}

	pids := first.Processes()
	begin := time.Now()
	first.Stop()
	t.Logf("stopped in %.1f s", time.Since(begin).Seconds())
	if err := first.Err(); err != nil {
		t.Errorf("stopped on purpose, but %v", err)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d outlived Stop", pid)
		}
	}

	second := start(t, conf)
	if second.Server() != server || string(second.CA()) != ca || string(must(second.ServiceAccountKey())) != key {
		t.Error("the restarted cluster has another address or other keys")
	}
	as(t, second, "", must(admin.Pair.TLS())).want(t, "/api/v1/namespaces/kept", http.StatusOK)
	if m := must(cluster.Remember(conf.Dir)); m.Scope != prod.String() || !strings.HasSuffix(server, fmt.Sprint(m.Port)) {
		t.Errorf("remembered %+v", m)
	}

	// The API server ends by itself: the cluster says so, and leaves nothing.
	pids = second.Processes()
	syscall.Kill(pids[0], syscall.SIGKILL)
	select {
	case <-second.Done():
	case <-time.After(patience):
		t.Fatal("the cluster did not notice that its API server is gone")
	}
	if err := second.Err(); err == nil || !strings.Contains(err.Error(), "kube-apiserver ended (signal: killed)") {
		t.Errorf("Err = %v", err)
	}
	if alive(pids[1]) {
		t.Error("the controller manager outlived its API server")
	}
}

// The house is killed: nothing of the cluster may stay behind, and the next house
// takes the directory over.
func TestKilledHouseLeavesNoProcess(t *testing.T) {
	t.Parallel()
	binary(t)
	dir := t.TempDir()
	house := exec.Command(os.Args[0], "-test.run=^TestHouseProcess$", "-test.v")
	house.Env = append(os.Environ(), "CLUSTER_TEST_HOUSE="+dir)
	stdin := must(house.StdinPipe())
	defer stdin.Close()
	stdout := must(house.StdoutPipe())
	if err := house.Start(); err != nil {
		t.Fatal(err)
	}
	defer house.Process.Kill()
	var pids []int
	for lines := bufio.NewScanner(stdout); pids == nil && lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "pids "); ok {
			if err := json.Unmarshal([]byte(text), &pids); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(pids) != 2 || !alive(pids[0]) || !alive(pids[1]) {
		t.Fatalf("the house runs %v", pids)
	}
	if err := house.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	eventually(t, patience, "the control plane is gone", func() bool { return !alive(pids[0]) && !alive(pids[1]) })
	t.Logf("gone after %v", time.Since(begin))
	house.Wait()

	s := newStub(t)
	conf := config(t, s)
	conf.Dir = filepath.Join(dir, "prod")
	conf.Etcd.Endpoints = []string{etcd(t, filepath.Join(dir, "etcd"))}
	start(t, conf)
}

// TestHouseProcess is the house that TestKilledHouseLeavesNoProcess kills.
func TestHouseProcess(t *testing.T) {
	dir := os.Getenv("CLUSTER_TEST_HOUSE")
	if dir == "" {
		t.Skip("runs only as the child of another test")
	}
	conf := config(t, newStub(t))
	conf.Dir = filepath.Join(dir, "prod")
	conf.Etcd.Endpoints = []string{etcd(t, filepath.Join(dir, "etcd"))}
	c := start(t, conf)
	fmt.Printf("\npids %s\n", must(json.Marshal(c.Processes())))
	io.Copy(io.Discard, os.Stdin) // until the parent is gone
}

// fake is a control plane made of a shell script.
func fake(t *testing.T, script string) cluster.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gatehouse-kube")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return cluster.Config{Name: "prod", Scope: prod, Dir: filepath.Join(t.TempDir(), "prod"), Binary: path,
		Etcd: cluster.Etcd{Endpoints: []string{"http://127.0.0.1:1"}}}
}

func TestStartSaysWhyItFailed(t *testing.T) {
	t.Parallel()
	t.Run("with the last lines that the program printed", func(t *testing.T) {
		t.Parallel()
		_, err := cluster.Start(t.Context(), fake(t, `echo "called as $1"; echo "the disk is on fire" >&2; exit 3`))
		for _, want := range []string{"start cluster prod", "kube-apiserver ended (exit status 3)", "called as kube-apiserver", "the disk is on fire"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v\ndoes not say %q", err, want)
			}
		}
	})
	t.Run("when its port is taken", func(t *testing.T) {
		t.Parallel()
		ln := must(net.Listen("tcp", "127.0.0.1:0"))
		defer ln.Close()
		conf := fake(t, "exit 0")
		conf.Port = ln.Addr().(*net.TCPAddr).Port
		if _, err := cluster.Start(t.Context(), conf); err == nil || !strings.Contains(err.Error(), "is taken") {
			t.Error(err)
		}
	})
	t.Run("when the directory is another cluster's", func(t *testing.T) {
		t.Parallel()
		conf := fake(t, "exit 0")
		cluster.Start(t.Context(), conf)
		conf.Scope = must(prod.Namespace("x"))
		if _, err := cluster.Start(t.Context(), conf); err == nil || !strings.Contains(err.Error(), "holds the cluster") {
			t.Error(err)
		}
	})
	for name, bad := range map[string]func(*cluster.Config){
		"no name":           func(c *cluster.Config) { c.Name = "" },
		"no binary":         func(c *cluster.Config) { c.Binary = filepath.Join(c.Dir, "missing") },
		"no etcd":           func(c *cluster.Config) { c.Etcd.Endpoints = nil },
		"a plain text hook": func(c *cluster.Config) { c.House.TokenReview = "http://127.0.0.1/x" },
		"a hook without CA": func(c *cluster.Config) { c.House.TokenReview = "https://127.0.0.1/x" },
	} {
		conf := fake(t, "exit 0")
		bad(&conf)
		if _, err := cluster.Start(t.Context(), conf); err == nil {
			t.Errorf("a configuration with %s is accepted", name)
		}
		if _, err := os.Stat(conf.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a configuration with %s leaves a directory behind", name)
		}
	}
}

// A process number from an earlier house says nothing by itself: the kernel may
// have given it to anybody since.
func TestStaleProcesses(t *testing.T) {
	t.Parallel()
	leave := func(t *testing.T, conf cluster.Config, start func(real string) string) *exec.Cmd {
		t.Helper()
		sleep := exec.Command("sleep", "600")
		sleep.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := sleep.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sleep.Process.Kill(); sleep.Wait() })
		stat := string(must(os.ReadFile(fmt.Sprintf("/proc/%d/stat", sleep.Process.Pid))))
		fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
		boot := strings.TrimSpace(string(must(os.ReadFile("/proc/sys/kernel/random/boot_id"))))
		if err := os.MkdirAll(filepath.Join(conf.Dir, "run"), 0o700); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf(`{"pid":%d,"boot":%q,"start":%q}`, sleep.Process.Pid, boot, start(fields[19]))
		if err := os.WriteFile(filepath.Join(conf.Dir, "run", "kube-apiserver.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return sleep
	}
	t.Run("one that an earlier house left behind is ended", func(t *testing.T) {
		t.Parallel()
		conf := fake(t, "exit 1")
		left := leave(t, conf, func(real string) string { return real })
		cluster.Start(t.Context(), conf)
		if alive(left.Process.Pid) {
			t.Error("it still runs")
		}
	})
	t.Run("another one with its number is left alone", func(t *testing.T) {
		t.Parallel()
		conf := fake(t, "exit 1")
		other := leave(t, conf, func(real string) string { return real + "1" })
		cluster.Start(t.Context(), conf)
		if !alive(other.Process.Pid) {
			t.Error("somebody else's process was killed")
		}
	})
}

// alive reports whether the process runs; a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return fields[0] != "Z"
}

func (c caller) post(t *testing.T, path, body string, code int) {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), http.MethodPost, c.server+path, strings.NewReader(body)))
	req.Header.Set("Content-Type", "application/json")
	res, err := c.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text := must(io.ReadAll(res.Body)); res.StatusCode != code {
		t.Errorf("POST %s = %d, want %d: %s", path, res.StatusCode, code, text)
	}
}
