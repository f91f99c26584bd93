// Package reply reads what services answer to programs on nodes: a JSON value, or why
// there is none, in words that may stand in a log.
package reply

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// A Refusal is what a service answered instead of what was asked for.
type Refusal struct {
	Status int    // of HTTP
	Of     string // what was asked for
	Text   string // for people, one line
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s: %d %s", r.Of, r.Status, r.Text) }

// A Silence is that a service did not answer, or not what can be understood.
type Silence struct {
	Of  string // what was asked for
	Err error
}

func (s *Silence) Error() string { return s.Of + ": " + s.Err.Error() }
func (s *Silence) Unwrap() error { return s.Err }

// ErrUnclear is that an answer is not what was asked for.
var ErrUnclear = errors.New("the answer is not understood")

// Read sends a request for something and reads the JSON answer into v, which good
// judges. Every error is a *Refusal or a *Silence. Of a refusal, the description is
// passed on, which is for people and has no secret; of anything else, nothing.
func Read(client *http.Client, req *http.Request, of string, v any, good func() bool) error {
	res, err := client.Do(req)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err // without the query
		}
		return &Silence{of, fmt.Errorf("it does not answer: %w", err)}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return &Silence{of, err}
	case len(body) > maxAnswer:
		return &Silence{of, fmt.Errorf("the answer has more than %d bytes", maxAnswer)}
	case res.StatusCode != http.StatusOK:
		return &Refusal{res.StatusCode, of, described(body)}
	}
	if json.Unmarshal(body, v) != nil || !good() {
		return &Silence{of, ErrUnclear}
	}
	return nil
}

// described is what a refusal says to people, in one line: of OAuth, of Azure, of a
// registry, or plain text.
func described(body []byte) string {
	var e struct {
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &e) == nil && e.Description != "" {
		return short(e.Description)
	}
	var azure struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &azure) == nil && azure.Error.Message != "" {
		return short(azure.Error.Code + ": " + azure.Error.Message)
	}
	var registry struct {
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &registry) == nil && len(registry.Errors) > 0 && registry.Errors[0].Message != "" {
		return short(registry.Errors[0].Message)
	}
	return short(strings.Join(strings.Fields(string(body)), " "))
}

// short is the first line of a text, and no more than fits in an event.
func short(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	return strings.ToValidUTF8(text[:min(len(text), 600)], "")
}
