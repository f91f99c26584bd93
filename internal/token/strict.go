package token

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// unmarshal reads one JSON object into v. The JSON library refuses duplicate
// names at every depth, invalid UTF-8 and anything behind the value, and compares
// names exactly. Unknown members (rest) are ignored, unless another reader could
// take one for a name in known: SUB, or sub with U+017F for its s.
func unmarshal(data []byte, v any, rest func() jsontext.Value, known []string) error {
	if len(data) == 0 || data[0] != '{' {
		return fmt.Errorf("%w: not a JSON object", ErrMalformed)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(rest()) == 0 {
		return nil
	}
	dec := jsontext.NewDecoder(strings.NewReader(string(rest())))
	if _, err := dec.ReadToken(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for dec.PeekKind() == '"' {
		tok, err := dec.ReadToken()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		name := tok.String()
		for _, k := range known {
			if strings.EqualFold(name, k) {
				return fmt.Errorf("%w: member %.32q looks like %q", ErrMalformed, name, k)
			}
		}
		if err := dec.SkipValue(); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
	return nil
}

// text is a JSON string that is not empty; null is none.
type text string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (t *text) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	tok, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if tok.Kind() != '"' || tok.String() == "" {
		return fmt.Errorf("%w: empty or no string", ErrMalformed)
	}
	*t = text(tok.String())
	return nil
}

// isID reports whether a text can name something: 1 to 255 visible ASCII
// characters without blanks.
func isID(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// list is a JSON array of strings that are not empty.
type list []string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (l *list) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	tok, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if tok.Kind() != '[' {
		return fmt.Errorf("%w: no array", ErrMalformed)
	}
	*l = list{}
	for dec.PeekKind() != ']' {
		var t text
		if err := t.UnmarshalJSONFrom(dec); err != nil {
			return err
		}
		*l = append(*l, string(t))
	}
	_, err = dec.ReadToken()
	return err
}

// audience is aud of a foreign token: one string, or an array of one string,
// which is how Kubernetes writes it. A token for several could be passed on by
// one of them, and is refused.
type audience string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (a *audience) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '[' {
		return (*text)(a).UnmarshalJSONFrom(dec)
	}
	var l list
	if err := l.UnmarshalJSONFrom(dec); err != nil {
		return err
	}
	if len(l) != 1 {
		return fmt.Errorf("%w: %d", ErrAudiences, len(l))
	}
	*a = audience(l[0])
	return nil
}

// date is a NumericDate (RFC 7519, section 2): seconds since 1970, perhaps with a
// fraction. It is written in whole seconds.
type date struct{ time.Time }

// lastDate is the end of the year 9999, the last one that RFC 3339 can write.
const lastDate = 253402300799

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (d *date) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	tok, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if tok.Kind() != '0' {
		return fmt.Errorf("%w: no number", ErrMalformed)
	}
	f, err := strconv.ParseFloat(tok.String(), 64)
	if err != nil || !(f > 0 && f <= lastDate) {
		return fmt.Errorf("%w: no date: %.32s", ErrMalformed, tok.String())
	}
	sec, frac := math.Modf(f)
	d.Time = time.Unix(int64(sec), int64(frac*1e9)).UTC()
	return nil
}

// MarshalJSONTo implements json.MarshalerTo.
func (d date) MarshalJSONTo(enc *jsontext.Encoder) error {
	return enc.WriteToken(jsontext.Int(d.Unix()))
}
