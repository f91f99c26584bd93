package stories_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/tour"
)

// An admin is a kubeconfig with a certificate of a local administrator.
type admin struct {
	file string
	id   string // how the API server names the certificate
}

func newAdmin(t *testing.T, stage *tour.Stage, cluster string) admin {
	t.Helper()
	a := admin{file: filepath.Join(t.TempDir(), "admin.kubeconfig")}
	got, err := stage.Operate(t.Context(), "kubeconfig", cluster, "--admin", "--file", a.file)
	if err != nil || got.Exit != 0 {
		t.Fatalf("%s %v", got.Text, err)
	}
	text, err := os.ReadFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`client-certificate-data: (\S+)`).FindSubmatch(text)
	if found == nil {
		t.Fatal("the kubeconfig has no client certificate")
	}
	certPEM, err := base64.StdEncoding.DecodeString(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(certPEM)
	sum := sha256.Sum256(block.Bytes)
	a.id = "X509SHA256=" + hex.EncodeToString(sum[:])
	return a
}

// nodes uses a kubeconfig that needs nobody to sign in.
func (a admin) nodes(t *testing.T, stage *tour.Stage) tour.Outcome {
	t.Helper()
	p, err := stage.Person("penny")
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.KubectlAt(t.Context(), a.file, "", "get", "secrets", "-A")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func clusterNow(t *testing.T, stage *tour.Stage, name string) resource.Cluster {
	t.Helper()
	rec, err := stage.Cluster(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// change writes a cluster record and has it restored when the test ends.
func change(t *testing.T, stage *tour.Stage, name string, f func(*resource.Cluster)) {
	t.Helper()
	rec := clusterNow(t, stage, name)
	before := rec
	t.Cleanup(func() {
		if err := stage.Commit(context.WithoutCancel(t.Context()), "test", estate.Op{Put: before}); err != nil {
			t.Error(err)
		}
	})
	f(&rec)
	if err := stage.Commit(t.Context(), "test", estate.Op{Put: rec}); err != nil {
		t.Fatal(err)
	}
}

// LA-02: certificates cannot be revoked by Kubernetes; the house does it.
func TestOneAdminCertificateIsRevokedAndAnotherWorks(t *testing.T) {
	stage := onStage(t)
	lost := newAdmin(t, stage, "aks-2")
	if got := lost.nodes(t, stage); got.Exit != 0 {
		t.Fatalf("before: %s", got.Text)
	}
	change(t, stage, "aks-2", func(c *resource.Cluster) { c.RevokedCertificates = append(c.RevokedCertificates, lost.id) })
	start := time.Now()
	got := lost.nodes(t, stage)
	if want := "Access denied: the certificate was revoked."; got.Exit == 0 || !strings.HasSuffix(got.Text, want) {
		t.Errorf("the revoked certificate: exit code %d: %s\nwant ... %s", got.Exit, got.Text, want)
	}
	t.Logf("refused %s after the acknowledged revocation", time.Since(start).Round(time.Millisecond))
	// Whoever asks again is given another one, and not the one that was revoked.
	if got := newAdmin(t, stage, "aks-2").nodes(t, stage); got.Exit != 0 {
		t.Errorf("the other certificate: %s", got.Text)
	}
}

// Story 13, the half about an admin kubeconfig that was issued earlier (LA-01, LA-02, LA-08).
func TestDisablingLocalAccountsEndsEveryCertificate(t *testing.T) {
	stage := onStage(t)
	one, two := newAdmin(t, stage, "aks-2"), newAdmin(t, stage, "aks-2")
	t.Run("disabled", func(t *testing.T) {
		change(t, stage, "aks-2", func(c *resource.Cluster) { c.DisableLocalAccounts = true })
		start := time.Now()
		for _, a := range []admin{one, two} {
			if got := a.nodes(t, stage); got.Exit == 0 {
				t.Errorf("works %s after local accounts were disabled: %s", time.Since(start), got.Text)
			}
		}
		t.Logf("both refused %s after the acknowledged change", time.Since(start).Round(time.Millisecond))
		got, err := stage.Operate(t.Context(), "kubeconfig", "aks-2", "--admin")
		want := "gatehouse: (BadRequest) Getting static credential is not allowed because this cluster is set to disable local accounts."
		if err != nil || got.Exit == 0 || got.Text != want {
			t.Errorf("exit code %d %v\ngot  %s\nwant %s", got.Exit, err, got.Text, want)
		}
		// The new authority of local administrators is in force within a minute.
		waitFor(t, patience, "the certificate is refused by the API server itself", func() bool {
			return strings.HasSuffix(one.nodes(t, stage).Text, "error: You must be logged in to the server (Unauthorized)")
		})
	})
	if got := one.nodes(t, stage); got.Exit == 0 {
		t.Error("enabling local accounts again brought an old certificate back")
	}
	// The API server starts anew, with or without local accounts.
	waitFor(t, patience, "the control plane runs again", func() bool {
		got, err := stage.Operate(t.Context(), "kubeconfig", "aks-2", "--admin")
		return err == nil && got.Exit == 0
	})
	fresh := newAdmin(t, stage, "aks-2")
	waitFor(t, patience, "a new certificate works", func() bool { return fresh.nodes(t, stage).Exit == 0 })
}

// waitFor asks until the answer is yes.
func waitFor(t *testing.T, most time.Duration, what string, ask func() bool) {
	t.Helper()
	start := time.Now()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		if time.Since(start) > most {
			t.Fatalf("not within %s: %s", most, what)
		}
		<-tick.C
	}
	if took := time.Since(start); took > time.Second {
		t.Logf("after %s: %s", took.Round(10*time.Millisecond), what)
	}
}
