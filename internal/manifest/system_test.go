package manifest_test

import (
	"encoding/json"
	"testing"
	"testing/fstest"

	"github.com/gatehouse-io/gatehouse/internal/manifest"
)

// DIR-08: no file brings in a name that would pass for one of the control plane.
func TestNoNameOfTheControlPlaneIsImported(t *testing.T) {
	t.Parallel()
	load := func(name string) error {
		quoted, err := json.Marshal(name) // YAML reads it as JSON does
		if err != nil {
			t.Fatal(err)
		}
		text := world + "---\nkind: Group\nid: 20000000-0000-4000-8000-00000000000b\ntenant: x.example\ndisplayName: " + string(quoted) + "\n"
		_, err = manifest.LoadDir(fstest.MapFS{"e.yaml": {Data: []byte(text)}})
		return err
	}
	if err := load("another team"); err != nil {
		t.Fatalf("a plain name is refused as well: %v", err)
	}
	for _, name := range []string{
		"system:masters", "System:Masters", "SYSTEM:masters", "sYsTeM:node:x", "system:serviceaccount:a:b", "system:admin", "system:",
		"ｓｙｓｔｅｍ：masters", "ｓystem:masters", "system：masters", " system:masters", "system:masters ", "\tsystem:masters", "\u00a0system:masters",
		"sys\u200btem:masters", "\u2060system:masters", "\ufeffsystem:masters", "ſystem:masters", "s\u0301ystem:masters", "system:\u202emasters",
	} {
		if err := load(name); err == nil {
			t.Errorf("a group called %q is imported", name)
		}
	}
}
