package cli

import "github.com/go-json-experiment/json/jsontext"

// indentJSON writes JSON for people and programs alike: two blanks a level.
func indentJSON(data []byte) []byte {
	v := jsontext.Value(data)
	if err := v.Indent(jsontext.WithIndent("  ")); err != nil {
		return data // made by us a moment ago
	}
	return v
}
