package pfx_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/pfx"
)

func certify(t testing.TB, key crypto.Signer, name string) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func contents(t testing.TB, key crypto.Signer) pfx.Contents {
	t.Helper()
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pfx.Contents{Key: key, Certificates: []*x509.Certificate{certify(t, key, "leaf"), certify(t, other, "ca")}}
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func same(t testing.TB, law string, got, want pfx.Contents) {
	t.Helper()
	if !got.Key.(interface{ Equal(crypto.PrivateKey) bool }).Equal(want.Key) {
		t.Errorf("%s: another key", law)
	}
	if len(got.Certificates) != len(want.Certificates) {
		t.Fatalf("%s: %d certificates, want %d", law, len(got.Certificates), len(want.Certificates))
	}
	for i := range want.Certificates {
		if !got.Certificates[i].Equal(want.Certificates[i]) {
			t.Errorf("%s: certificate %d is %s, want %s", law, i, got.Certificates[i].Subject, want.Certificates[i].Subject)
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{rsaKey(t), ec} {
		want := contents(t, key)
		for _, password := range []string{"", "canary", "pässwörd 🔑", strings.Repeat("long", 100)} {
			der, err := pfx.Encode(want, password)
			if err != nil {
				t.Fatal(err)
			}
			got, err := pfx.Decode(der, password)
			if err != nil {
				t.Fatalf("%T, password %q: %v", key, password, err)
			}
			same(t, password, got, want)
			if _, err := pfx.Decode(der, password+"x"); !errors.Is(err, pfx.ErrPassword) {
				t.Errorf("another password: %v, want ErrPassword", err)
			}
			der[len(der)/2] ^= 1
			if got, err := pfx.Decode(der, password); err == nil || got.Key != nil {
				t.Error("a changed file is read")
			}
		}
	}
}

// TestOpenSSLReadsAndWritesTheSame tries the files of openssl in both directions.
func TestOpenSSLReadsAndWritesTheSame(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl here")
	}
	dir := t.TempDir()
	want := contents(t, rsaKey(t))
	pkcs8, err := x509.MarshalPKCS8PrivateKey(want.Key)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	for _, c := range want.Certificates {
		pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	in := filepath.Join(dir, "in.pem")
	if err := os.WriteFile(in, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	openssl := func(args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "openssl", append([]string{"pkcs12"}, args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl %v: %v: %s", args, err, stderr.String())
		}
		return out
	}
	for law, args := range map[string][]string{
		"today's default":               nil,
		"triple DES":                    {"-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"},
		"AES-128, SHA-512, many rounds": {"-keypbe", "AES-128-CBC", "-certpbe", "AES-192-CBC", "-macalg", "sha512", "-iter", "100000"},
		"certificates in the open":      {"-certpbe", "NONE"},
		"everything in the open":        {"-certpbe", "NONE", "-keypbe", "NONE"},
	} {
		der := openssl(append([]string{"-export", "-in", in, "-passout", "pass:s3cret"}, args...)...)
		got, err := pfx.Decode(der, "s3cret")
		if err != nil {
			t.Errorf("%s: %v", law, err)
			continue
		}
		same(t, law, got, want)
	}
	old := openssl("-export", "-legacy", "-in", in, "-passout", "pass:s3cret")
	if _, err := pfx.Decode(old, "s3cret"); !errors.Is(err, pfx.ErrInvalid) || !strings.Contains(err.Error(), "RC2") {
		t.Errorf("a file with RC2: %v, want an error that names it", err)
	}
	der, err := pfx.Encode(want, "s3cret")
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out.pfx")
	if err := os.WriteFile(out, der, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := openssl("-in", out, "-passin", "pass:s3cret", "-nodes"); !bytes.Contains(got, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})) {
		t.Errorf("openssl finds %d things in what was written, and not the key", bytes.Count(got, []byte("BEGIN")))
	}
}

// TestAFileDoesNotSayHowMuchWorkItIs: RX-06. Two thousand million rounds take
// minutes; a refusal takes none.
func TestAFileDoesNotSayHowMuchWorkItIs(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"integrity", "open key", "hidden key"} {
		for _, rounds := range []int{math.MaxInt64, math.MaxInt32, 2_000_001, 0, -1} {
			start := time.Now()
			_, err := pfx.Decode(pfx.Bomb(where, rounds), "")
			if !errors.Is(err, pfx.ErrInvalid) || !strings.Contains(err.Error(), "rounds") {
				t.Errorf("%s, %d rounds: %v, want a refusal that names them", where, rounds, err)
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("%s, %d rounds: refused after %s", where, rounds, took)
			}
		}
	}
	if _, err := pfx.Decode(make([]byte, pfx.MaxSize+1), ""); !errors.Is(err, pfx.ErrInvalid) {
		t.Errorf("a file that is too long: %v", err)
	}
}

func TestAKeyWithoutItsCertificateIsRefused(t *testing.T) {
	t.Parallel()
	c := contents(t, rsaKey(t))
	c.Certificates = c.Certificates[1:]
	der, err := pfx.Encode(c, "")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pfx.Decode(der, ""); !errors.Is(err, pfx.ErrInvalid) || got.Key != nil {
		t.Errorf("Decode = %v, %v, want ErrInvalid", got.Key != nil, err)
	}
}

func FuzzDecode(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	der, err := pfx.Encode(contents(f, key), "")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add(pfx.Bomb("hidden key", 5))
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := pfx.Decode(der, "")
		if err != nil {
			if c.Key != nil || c.Certificates != nil {
				t.Error("contents together with an error")
			}
			return
		}
		again, err := pfx.Encode(c, "")
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		got, err := pfx.Decode(again, "")
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		same(t, "fuzz", got, c)
	})
}
