package manifest_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/manifest"
)

// TestBombs is catalogue row RX-07 (and IM-02): whatever is too deep or too big
// is answered at once.
func TestBombs(t *testing.T) {
	laughs := "a: &a [x,x]\n"
	for c := 'b'; c < 'z'; c++ {
		laughs += string(c) + ": &" + string(c) + " [*" + string(c-1) + ",*" + string(c-1) + "]\n"
	}
	tests := []struct {
		law, file string
		data      []byte
	}{
		{"100,000 brackets on one line", "e.yaml", []byte(strings.Repeat("[", 100_000))},
		{"100,000 brackets on as many lines", "e.yaml", []byte(strings.Repeat("[\n", 100_000))},
		{"100,000 braces on as many lines", "e.yaml", []byte(strings.Repeat("{a: \n", 100_000))},
		{"dashes on one line", "e.yaml", []byte(strings.Repeat("- ", 30_000))},
		{"question marks on one line", "e.yaml", []byte(strings.Repeat("? ", 30_000))},
		{"a value of 10 MB", "e.yaml", bytes.Repeat([]byte("a"), 10<<20)},
		{"a value of 10 MB on many lines", "e.yaml", []byte("a: \"" + strings.Repeat("aaaaaaaaaaaaaaaa\n", 600_000) + "\"")},
		{"a value just below the size of a document", "e.yaml", []byte("a: \"" + strings.Repeat("aaaaaaaa\n\n", 100_000) + "\"")},
		{"a billion laughs", "e.yaml", []byte(laughs)},
		{"100,000 brackets in JSON", "e.json", []byte(strings.Repeat("[", 100_000))},
		{"a value of 10 MB in JSON", "e.json", []byte(`"` + strings.Repeat("a", 10<<20) + `"`)},
	}
	for _, tt := range tests {
		t.Run(tt.law, func(t *testing.T) {
			files := manifest.Files{{Name: tt.file, Data: tt.data}}
			// The fastest of many: a shared machine may stop for longer than the limit.
			const limit = 50 * time.Millisecond
			best := time.Hour
			for try := 0; try < 60 && best > limit; try++ {
				start := time.Now()
				if _, err := manifest.Decode(files.All, nil); err == nil {
					t.Fatal("no error")
				} else if len(err.Error()) > 1<<14 {
					t.Fatalf("an error of %d bytes", len(err.Error()))
				}
				best = min(best, time.Since(start))
			}
			if best > limit && !raced {
				t.Errorf("answered in %v, want at most %v", best, limit)
			}
		})
	}
}
