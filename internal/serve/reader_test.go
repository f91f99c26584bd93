package serve_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/serve"
)

type thing struct {
	Kind string              `json:"kind"`
	List []string            `json:"list"`
	More map[string][]string `json:"more"`
}

func readThing(text []byte) (got thing, err error) {
	err = serve.Read(text, func(r *serve.Reader) error {
		return r.Object([]string{"kind", "list", "more"}, func(name string) (err error) {
			switch name {
			case "kind":
				got.Kind, err = r.String()
			case "list":
				got.List, err = r.Strings()
			case "more":
				err = r.Map(func(name string, values []string) {
					if got.More == nil {
						got.More = map[string][]string{}
					}
					got.More[name] = values
				})
			}
			return err
		})
	})
	if err != nil {
		return thing{}, err
	}
	return got, nil
}

func TestReader(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		law, text string
		want      thing
		ok        bool
	}{
		{"what is known is read", `{"kind":"a","list":["b","c"],"more":{"d":["e"]}}`, thing{"a", []string{"b", "c"}, map[string][]string{"d": {"e"}}}, true},
		{"what is unknown is skipped", ` {"new":{"kind":1,"x":[{}]},"kind":"a"} `, thing{Kind: "a"}, true},
		{"an escaped name is the same name", `{"k\u0069nd":"a"}`, thing{Kind: "a"}, true},
		{"null says nothing", `{"kind":null,"list":null,"more":null}`, thing{}, true},
		{"WH-05: a name twice", `{"kind":"a","kind":"b"}`, thing{}, false},
		{"WH-05: a name twice, once escaped", `{"kind":"a","k\u0069nd":"b"}`, thing{}, false},
		{"WH-05: a name twice in what is skipped", `{"kind":"a","new":{"x":1,"x":2}}`, thing{}, false},
		{"WH-05: a known name in another case", `{"Kind":"a"}`, thing{}, false},
		{"WH-05: a known name with the Kelvin sign", "{\"\u212Aind\":\"a\"}", thing{}, false},
		{"WH-05: something behind the value", `{"kind":"a"} {}`, thing{}, false},
		{"WH-05: half a value", `{"kind":"a"`, thing{}, false},
		{"nothing at all", ``, thing{}, false},
		{"another type", `{"kind":["a"]}`, thing{}, false},
		{"a list where an object belongs", `[]`, thing{}, false},
		{"a number in a list of texts", `{"list":[1]}`, thing{}, false},
		{"invalid UTF-8", "{\"kind\":\"\xff\"}", thing{}, false},
		{"half a surrogate", `{"kind":"\ud800"}`, thing{}, false},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			got, err := readThing([]byte(tt.text))
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, serve.ErrMalformed) {
				t.Fatalf("error %v, want success %t", err, tt.ok)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestReaderKeepsWhatIsWritten(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ law, text, want string }{
		{"a value is kept as it is written", `{"object":{"b": 1.0, "a":[null]}}`, `{"b": 1.0, "a":[null]}`},
		{"WH-05: a name twice in what is kept", `{"object":{"a":{"b":1,"b":2}}}`, ""},
		{"half of what is kept", `{"object":{"a":`, ""},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			var got string
			err := serve.Read([]byte(tt.text), func(r *serve.Reader) error {
				return r.Object([]string{"object"}, func(string) error {
					v, err := r.Raw()
					got = string(v)
					return err
				})
			})
			if (err == nil) != (tt.want != "") || err != nil && !errors.Is(err, serve.ErrMalformed) || got != tt.want {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// FuzzReader: what this reader accepts, encoding/json takes for the same thing.
func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"kind":"a","list":["b"],"more":{"c":["d"]},"new":{"x":[1,null]}}`))
	f.Add([]byte(`{"k\u0069nd":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := readThing(text)
		if err != nil {
			return
		}
		var want thing
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("encoding/json refuses what we accept: %v", err)
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		var ga, gb any
		if json.Unmarshal(a, &ga) != nil || json.Unmarshal(b, &gb) != nil {
			t.Fatal("unreadable")
		}
		drop := func(v any) any { // nil and empty lists are alike
			m := v.(map[string]any)
			for k, x := range m {
				if x == nil || cmp.Equal(x, []any{}) || cmp.Equal(x, map[string]any{}) {
					delete(m, k)
				}
			}
			return m
		}
		if diff := cmp.Diff(drop(gb), drop(ga)); diff != "" {
			t.Fatalf("%q: encoding/json and we disagree (-json +ours)\n%s", text, diff)
		}
	})
}
