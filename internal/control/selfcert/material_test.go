package selfcert_test

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/control/selfcert"
)

var (
	names = []string{"webhook.system.svc", "webhook.system.svc.cluster.local"}
	birth = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

func next(t *testing.T, m selfcert.Material, now time.Time) selfcert.Material {
	t.Helper()
	out, err := m.Next(names, now)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// trusts reports whether an API server with this bundle takes what is served.
func trusts(bundle []byte, m selfcert.Material, now time.Time) error {
	leaf, err := m.Serving.Leaf()
	if err != nil {
		return err
	}
	if _, err := m.Serving.TLS(); err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	for _, name := range names {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now}); err != nil {
			return err
		}
	}
	return nil
}

// TestNoCallFailsInThreeYears walks through three years in steps of an hour and
// more. What is served is always trusted by an API server that has the bundle of
// now, and by one that has that of a step ago.
func TestNoCallFailsInThreeYears(t *testing.T) {
	t.Parallel()
	var m selfcert.Material
	var before []byte
	leaves, authorities := 0, 0
	hour, steps := 0, []int{1, 5, 42}
	for i := 0; hour < 3*365*24; i++ {
		hour += steps[i%len(steps)]
		now := birth.Add(time.Duration(hour) * time.Hour)
		after := next(t, m, now)
		if string(after.Serving.CertPEM) != string(m.Serving.CertPEM) {
			leaves++
		}
		if string(after.AuthorityKey) != string(m.AuthorityKey) {
			authorities++
		}
		m = after
		if !next(t, m, now).Equal(m) {
			t.Fatalf("hour %d: not done after one step", hour)
		}
		if err := trusts(m.Authorities, m, now); err != nil {
			t.Fatalf("hour %d: %v", hour, err)
		}
		if before != nil {
			if err := trusts(before, m, now); err != nil {
				t.Fatalf("hour %d, an API server that is late: %v", hour, err)
			}
		}
		before = m.Authorities
		if n := strings.Count(string(m.Authorities), "BEGIN"); n > 2 {
			t.Fatalf("hour %d: %d authorities", hour, n)
		}
	}
	// A leaf lives 20 days, an authority 8 months.
	if leaves < 50 || leaves > 62 || authorities != 5 {
		t.Errorf("%d leaves and %d authorities", leaves, authorities)
	}
}

func TestWhatIsDamagedIsMadeAnew(t *testing.T) {
	t.Parallel()
	good := next(t, selfcert.Material{}, birth)
	other := next(t, selfcert.Material{}, birth)
	now := birth.Add(2 * time.Hour)
	for _, tt := range []struct {
		law    string
		damage func(*selfcert.Material)
		same   bool
	}{
		{"nothing is wrong", func(*selfcert.Material) {}, true},
		{"nothing is there", func(m *selfcert.Material) { *m = selfcert.Material{} }, false},
		{"the authorities are gone", func(m *selfcert.Material) { m.Authorities = nil }, false},
		{"the authorities are nonsense", func(m *selfcert.Material) { m.Authorities = []byte("nonsense") }, false},
		{"the key of the authority is gone", func(m *selfcert.Material) { m.AuthorityKey = nil }, false},
		{"the key is another authority's", func(m *selfcert.Material) { m.AuthorityKey = other.AuthorityKey }, false},
		{"the certificate is gone", func(m *selfcert.Material) { m.Serving.CertPEM = nil }, false},
		{"the certificate is another authority's", func(m *selfcert.Material) { m.Serving = other.Serving }, false},
		{"the key is not the certificate's", func(m *selfcert.Material) { m.Serving.KeyPEM = other.Serving.KeyPEM }, false},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			m := good
			tt.damage(&m)
			fixed := next(t, m, now)
			if err := trusts(fixed.Authorities, fixed, now); err != nil {
				t.Error(err)
			}
			if fixed.Equal(m) != tt.same {
				t.Errorf("the same: %t", !tt.same)
			}
			if !next(t, fixed, now).Equal(fixed) {
				t.Error("not done after one step")
			}
		})
	}
}

func TestAfterYearsAwayEverythingIsNew(t *testing.T) {
	t.Parallel()
	m := next(t, selfcert.Material{}, birth)
	later := birth.Add(5 * 365 * 24 * time.Hour)
	m = next(t, m, later)
	if err := trusts(m.Authorities, m, later); err != nil || strings.Count(string(m.Authorities), "BEGIN") != 1 {
		t.Errorf("%v, %s", err, m.Authorities)
	}
}

func TestAnotherNameNeedsAnotherCertificate(t *testing.T) {
	t.Parallel()
	m := next(t, selfcert.Material{}, birth)
	moved, err := m.Next([]string{"webhook.elsewhere.svc"}, birth)
	if err != nil || moved.Equal(m) {
		t.Errorf("%v, %t", err, moved.Equal(m))
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	t.Parallel()
	m := next(t, selfcert.Material{}, birth)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, m); strings.Contains(got, "KEY") || got != "[certificates and keys]" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}
