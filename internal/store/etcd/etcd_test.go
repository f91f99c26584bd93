package etcd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
	"github.com/gatehouse-io/gatehouse/internal/store/storetest"
)

// certs writes an authority and a certificate good for both ends of loopback.
func certs(t testing.TB, dir string) etcd.Files {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "gatehouse"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	must(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	files := etcd.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt")}
	write := func(path, kind string, der []byte) {
		must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	write(files.Cert, "CERTIFICATE", leafDER)
	write(files.Key, "PRIVATE KEY", keyDER)
	write(files.CA, "CERTIFICATE", caDER)
	return files
}

// start runs an embedded member until the test ends.
func start(t testing.TB, cfg etcd.ServerConfig) (*etcd.Server, etcd.Files) {
	t.Helper()
	files := certs(t, t.TempDir())
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.TLS = files
	if testing.Verbose() {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	srv, err := etcd.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv, files
}

func dial(t testing.TB, cfg etcd.ClientConfig) *etcd.KV {
	t.Helper()
	kv, err := etcd.Dial(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kv.Close() })
	return kv
}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	// Compaction is about the whole database, so each law gets its own.
	storetest.Run(t, func(t *testing.T) store.KV {
		srv, files := start(t, etcd.ServerConfig{})
		return dial(t, srv.ClientConfig(files))
	})
}

func TestClientsNeedACertificate(t *testing.T) {
	t.Parallel()
	srv, files := start(t, etcd.ServerConfig{})
	other := certs(t, t.TempDir())
	other.CA = files.CA
	kv := dial(t, srv.ClientConfig(other))
	ctx, cancel := timeout(t, 2*time.Second)
	defer cancel()
	if _, _, err := kv.Get(ctx, "/a"); err == nil {
		t.Error("a certificate of another authority was accepted")
	}
}
