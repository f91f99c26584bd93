package sample_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/manifest"
	"github.com/gatehouse-io/gatehouse/internal/sample"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestListing pins every record of the sample with its ids, in the normal form
// that export writes.
func TestListing(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	if err := manifest.Encode(&got, sample.Estate().Records()); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "listing.yaml")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("the sample changed (-want +got); run with -update if that is right:\n%s", diff)
	}
}

// TestNormalFormIsTheSameEstate: who keeps the export instead of the files has the same estate.
func TestNormalFormIsTheSameEstate(t *testing.T) {
	t.Parallel()
	listing, err := os.ReadFile(filepath.Join("testdata", "listing.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	recs, err := manifest.Decode(manifest.Files{{Name: "listing.yaml", Data: listing}}.All, nil)
	if err != nil {
		t.Fatal(err)
	}
	if changes := manifest.Diff(sample.Estate(), recs, true); len(changes) != 0 {
		t.Errorf("%d differences, the first is %v", len(changes), changes[0].Key)
	}
}
