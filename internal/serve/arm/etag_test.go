package arm_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

// ARM-01
func TestEntityTags(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	path := servetest.Subscription.String() + "/resourceGroups/ops" + version
	put := func(body string) string {
		got := h.call(contrib, "PUT", path, body)
		if got.status > 201 {
			t.Fatalf("%+v", got)
		}
		return got.header.Get("ETag")
	}
	first := put(`{"location":"westeurope"}`)
	if again := put(`{"location":"westeurope"}`); again != first || first == "" {
		t.Errorf("writing what is there made %s of %s", again, first)
	}
	second := put(`{"location":"westeurope","tags":{"a":"b"}}`)
	if second == first {
		t.Errorf("both are %s", first)
	}
	for _, tt := range []struct {
		method, header, value string
		want                  int
	}{
		{"GET", "If-None-Match", second, 304},
		{"GET", "If-None-Match", first, 200},
		{"GET", "If-Match", first, 412},
		{"HEAD", "If-None-Match", "W/" + second, 304},
		{"PATCH", "If-Match", first, 412},
		{"PUT", "If-Match", first, 412},
		{"PUT", "If-None-Match", "*", 412},
		{"DELETE", "If-Match", first, 412},
		{"DELETE", "If-Match", `"x", ` + second, 200},
		{"PATCH", "If-Match", "*", 404},
		{"PUT", "If-Match", "*", 412},
	} {
		got := h.call(contrib, tt.method, path, `{"location":"westeurope"}`, tt.header, tt.value)
		if got.status != tt.want {
			t.Errorf("%s with %s: %s = %d %s, want %d", tt.method, tt.header, tt.value, got.status, got.text, tt.want)
		}
	}
}

// ARM-02: of many who read and write at once, those who are told that they wrote did.
func TestNoUpdateIsLost(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	path := servetest.Subscription.String() + "/resourceGroups/ops" + version
	if got := h.call(contrib, "PUT", path, `{"location":"westeurope","tags":{"n":"0"}}`); got.status != 201 {
		t.Fatalf("%+v", got)
	}
	count := func() (int, string) {
		got := h.call(contrib, "GET", path, "")
		var body struct{ Tags map[string]string }
		json.Unmarshal([]byte(got.text), &body)
		n, err := strconv.Atoi(body.Tags["n"])
		if err != nil {
			t.Error(got, err)
		}
		return n, got.header.Get("ETag")
	}
	var wg sync.WaitGroup
	var wrote atomic.Int64
	for range 50 {
		wg.Go(func() {
			n, tag := count()
			switch got := h.call(contrib, "PATCH", path, fmt.Sprintf(`{"tags":{"n":"%d"}}`, n+1), "If-Match", tag); got.status {
			case 200:
				wrote.Add(1)
			case 412:
			default:
				t.Errorf("%+v", got)
			}
		})
	}
	wg.Wait()
	if n, _ := count(); int64(n) != wrote.Load() || n == 0 {
		t.Errorf("%d writes were acknowledged, the count is %d", wrote.Load(), n)
	}
}
