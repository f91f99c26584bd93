//go:build unix

package house_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
)

// replicaSettings makes the test binary a replica that can be stopped.
const replicaSettings = "GATEHOUSE_TEST_REPLICA"

type settings struct {
	Dir, Listen, WebhookListen string
	MaxAge                     time.Duration
	Etcd                       etcd.ClientConfig
}

func TestMain(m *testing.M) {
	if text := os.Getenv(replicaSettings); text != "" {
		if err := runReplica(text); err != nil {
			fmt.Println("ERROR", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runReplica serves until its input ends.
func runReplica(text string) error {
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	s.Etcd.Log = nil // a logger does not travel
	h, err := house.Start(context.Background(), house.Config{Dir: house.Dir(s.Dir), Listen: s.Listen, WebhookListen: s.WebhookListen, MaxAge: s.MaxAge, External: &s.Etcd})
	if err != nil {
		return err
	}
	defer h.Stop()
	fmt.Println("READY")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// WH-17: a replica is stopped, by the operating system, for longer than it may go
// without the store. Meanwhile somebody is disabled elsewhere. When it goes on, none
// of the questions that waited for it is answered from what it knew before.
func TestAStoppedReplicaDoesNotAnswerFromBefore(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("stops a process for some seconds")
	}
	_, client := startEtcd(t)
	g := newGate(t, func(c *house.Config) { c.External = &client })
	second := t.TempDir() + "/two"
	key, err := os.ReadFile(string(g.conf.Dir) + "/key")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(second, 0o700), os.WriteFile(second+"/key", key, 0o600)); err != nil {
		t.Fatal(err)
	}
	const maxAge = time.Second
	s := settings{Dir: second, Listen: free(t), WebhookListen: free(t), MaxAge: maxAge, Etcd: client}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), replicaSettings+"="+string(text))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGCONT)
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "READY\n" {
		t.Fatal(line, err)
	}
	replica := *g
	replica.conf.WebhookListen = s.WebhookListen
	const askers, rounds = 16, 3
	disabled := ana
	disabled.Disabled = true
	for round := range rounds {
		g.commit(estate.Op{Put: ana})
		eventually(t, func() bool { return replica.may(ana.UserPrincipalName, ana.ID) == "allow" })
		if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		g.commit(estate.Op{Put: disabled})
		// The questions arrive while it stands still.
		answers := make(chan string, askers)
		for range askers {
			go func() { answers <- replica.may(ana.UserPrincipalName, ana.ID) }()
		}
		<-time.After(maxAge + 500*time.Millisecond) // this pause is what is tried
		if len(answers) != 0 {
			t.Fatal("a stopped process answered")
		}
		if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for range askers {
			got[<-answers]++
		}
		if got["deny"] != askers {
			t.Errorf("round %d: the first answers after the pause are %v, want %d denials", round, got, askers)
		}
		eventually(t, func() bool { return replica.may(ana.UserPrincipalName, ana.ID) == "deny" })
	}
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(2 * time.Minute); !done(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("waited two minutes in vain")
		}
	}
}
