package record_test

import (
	"errors"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

func TestKeysWhosePartsDifferAreNeverEqual(t *testing.T) {
	t.Parallel()
	if record.KeyOf(record.KubeRole, "c", "a b", "c") == record.KeyOf(record.KubeRole, "c", "a", "b c") {
		t.Error("two roles share a key")
	}
	if record.KeyOf(record.User, "x") == record.KeyOf(record.Group, "x") {
		t.Error("a user and a group share a key")
	}
}

func TestUnmarshalReadsOneThingOneWay(t *testing.T) { // IM-03, WH-05
	t.Parallel()
	type object struct {
		Name   string `json:"name"`
		Nested struct {
			A int `json:"a"`
		} `json:"nested"`
	}
	for law, text := range map[string]string{
		"a member twice":              `{"name":"bob","name":"admin"}`,
		"a member twice further down": `{"nested":{"a":1,"a":2}}`,
		"a member in another case":    `{"Name":"admin"}`,
		"a look-alike member":         `{"\u017fame":"admin"}`,
		"an unknown member":           `{"name":"bob","admin":true}`,
		"a second value":              `{"name":"bob"}{"name":"admin"}`,
		"text behind the value":       `{"name":"bob"}x`,
		"a byte order mark":           "\ufeff{}",
		"invalid UTF-8":               "{\"name\":\"\xff\"}",
		"nothing":                     "",
		"a comment":                   `{"name":"bob"}//x`,
	} {
		var o object
		if err := record.Unmarshal([]byte(text), &o); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%s: Unmarshal(%q) = %v, want ErrInvalid", law, text, err)
		}
	}
	var o object
	if err := record.Unmarshal([]byte(` {"name":"bob"} `), &o); err != nil || o.Name != "bob" {
		t.Errorf("Unmarshal = %+v, %v, want bob", o, err)
	}
}
