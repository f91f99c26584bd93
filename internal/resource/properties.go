package resource

import (
	"bytes"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// Bounds on one JSON object that is kept as it was written: bytes of all of it and
// of one text, and levels. What is within them can also be written to an estate
// file and read back.
const (
	maxProperties = 256 << 10
	maxText       = 32 << 10
	maxDepth      = 32
)

// Properties are a JSON object that this house keeps for others and does not
// read: what it means is known to whoever wrote it. Two that differ in spaces or
// in the order of their members are equal. The zero Properties are the empty object.
type Properties struct{ text string } // in its one form; "" for {}

// ParseProperties reads a JSON object. A name that is there twice, and numbers that
// two readers could take for two, are refused or kept digit by digit.
func ParseProperties(text []byte) (Properties, error) {
	v := jsontext.Value(text).Clone()
	if len(v) > maxProperties {
		return Properties{}, record.Invalid("properties of %d bytes, at most %d", len(v), maxProperties)
	}
	if err := v.Format(jsontext.ReorderRawObjects(true), jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)); err != nil {
		return Properties{}, record.Invalid("properties: %w", err)
	}
	if v.Kind() != '{' {
		return Properties{}, record.Invalid("properties are %v, not an object", v.Kind())
	}
	if string(v) == "{}" {
		return Properties{}, nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(v))
	for {
		tok, err := dec.ReadToken()
		switch {
		case err == io.EOF:
			return Properties{string(v)}, nil
		case err != nil:
			return Properties{}, record.Invalid("properties: %w", err)
		case dec.StackDepth() > maxDepth:
			return Properties{}, record.Invalid("properties are nested more than %d levels deep", maxDepth)
		case tok.Kind() == '"' && len(tok.String()) > maxText:
			return Properties{}, record.Invalid("properties with a text of %d bytes, at most %d", len(tok.String()), maxText)
		}
	}
}

// IsZero reports whether there are none.
func (p Properties) IsZero() bool { return p.text == "" }

// Equal reports whether two say the same.
func (p Properties) Equal(q Properties) bool { return p == q }

// String returns the object as JSON.
func (p Properties) String() string {
	if p.text == "" {
		return "{}"
	}
	return p.text
}

// MarshalJSONTo implements json.MarshalerTo.
func (p Properties) MarshalJSONTo(enc *jsontext.Encoder) error {
	return enc.WriteValue(jsontext.Value(p.String()))
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (p *Properties) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	*p, err = ParseProperties(v)
	return err
}
