package loopback_test

import (
	"net"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/loopback"
)

func TestNoPortIsGivenTwice(t *testing.T) {
	t.Parallel()
	given := make(map[int]bool)
	for range 1000 {
		p, err := loopback.Take()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		if given[p.Number] || p.Number < 20000 || p.Number >= 30000 {
			t.Fatalf("port %d, given before: %t", p.Number, given[p.Number])
		}
		given[p.Number] = true
	}
}

func TestTheTakerOfAPortCanListenThere(t *testing.T) {
	t.Parallel()
	p, err := loopback.Take()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := (*loopback.Port)(nil).Close(); err != nil {
		t.Errorf("a nil port: %v", err)
	}
}
