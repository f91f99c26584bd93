package manifest_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/manifest"
)

func TestJSONListReadsBack(t *testing.T) {
	t.Parallel()
	recs := mustDecode(t, world)
	data, err := manifest.EncodeJSON(slices.Values(recs))
	if err != nil {
		t.Fatal(err)
	}
	back, err := manifest.Decode(manifest.Files{{Name: "list.json", Data: data}}.All, nil)
	if err != nil {
		t.Fatalf("%v, reading back\n%s", err, data)
	}
	if diff := cmp.Diff(encode(t, recs), encode(t, back)); diff != "" {
		t.Errorf("reads back as something else:\n%s", diff)
	}
}

func TestYAMLOfAValue(t *testing.T) {
	t.Parallel()
	tests := []struct{ law, in, want string }{
		{"objects and lists are in blocks", `{"a":{"b":[1,"x",{"c":true,"d":[]}]},"e":{}}`, "a:\n  b:\n  - 1\n  - x\n  - c: true\n    d: []\ne: {}\n"},
		{"texts that look like something else are in quotes", `["yes","1","~",""," x"]`, "- \"yes\"\n- \"1\"\n- \"~\"\n- \"\"\n- \" x\"\n"},
		{"empty values are values", `[]`, "[]\n"},
		{"a value may be a text", `"x"`, "x\n"},
	}
	for _, tt := range tests {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			got, err := manifest.YAML([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}
