package database_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/pki"
)

// message is one of PostgreSQL's protocol: a type, which the first one does not have,
// a length, and what is in it.
func message(typ string, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte(typ), uint32(len(body)+4)), body...)
}

// What the proxy does with who has not signed in needs neither a database nor a house.
func TestAProxyBeforeTheSignIn(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewCA("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{CommonName: "proxy", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Life: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	args := []string{"-authority", "https://127.0.0.1:1", "-issuer", "https://127.0.0.1:1/", "-tenant", "t", "-roles", file("roles", nil)}
	plain := startProxy(t, args...)
	closed := startProxy(t, append(args, "-cert", file("cert", pair.CertPEM), "-key", file("key", pair.KeyPEM))...)

	hello := message("", "\x00\x03\x00\x00user\x00web\x00\x00")
	tooLong := binary.BigEndian.AppendUint32([]byte("p"), 1<<30)
	const asks, refuses = 'R', 'E'
	for law, tt := range map[string]struct {
		port   string
		secret bool
		say    [][]byte
		want   []byte // the types of the answers
	}{
		"it asks for a token":                                 {plain, false, [][]byte{hello}, []byte{asks}},
		"over TLS, where it has a certificate":                {closed, true, [][]byte{hello}, []byte{asks}},
		"TL-05 and in the clear it does not":                  {closed, false, [][]byte{hello}, []byte{refuses}},
		"it does not wait for a token of a gibibyte":          {plain, false, [][]byte{hello, tooLong}, []byte{asks, refuses}},
		"it does not wait for a token of a gibibyte over TLS": {closed, true, [][]byte{hello, tooLong}, []byte{asks, refuses}},
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", "127.0.0.1:"+tt.port)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if tt.secret {
				conn.Write(message("", "\x04\xd2\x16\x2f")) // SSLRequest
				answer := make([]byte, 1)
				if _, err := io.ReadFull(conn, answer); err != nil || answer[0] != 'S' {
					t.Fatalf("asked for TLS, it answers %q, %v", answer, err)
				}
				conn = tls.Client(conn, &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1"})
			}
			var got []byte
			for _, text := range tt.say {
				conn.Write(text)
				head := make([]byte, 5)
				if _, err := io.ReadFull(conn, head); err != nil {
					t.Fatalf("after %q: %v", got, err)
				}
				got = append(got, head[0])
				io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head[1:]))-4)
			}
			if !bytes.Equal(got, tt.want) {
				t.Errorf("it answers %q, want %q", got, tt.want)
			}
		})
	}
}
