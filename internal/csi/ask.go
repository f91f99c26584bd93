package csi

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

// A refusal is what a service answered instead of what was asked for.
type refusal struct {
	status int
	of     string
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%s: %d %s", r.of, r.status, r.text) }

// A silence is that a service did not answer, or not what can be understood.
type silence struct {
	of  string
	err error
}

func (s *silence) Error() string { return s.of + ": " + s.err.Error() }
func (s *silence) Unwrap() error { return s.err }

// ask reads a JSON answer into v. Of a refusal, the description is passed on, which
// is for people and has no secret; of anything else, nothing.
func ask(client *http.Client, req *http.Request, of string, v any, good func() bool) error {
	res, err := client.Do(req)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err // without the query
		}
		return &silence{of, err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return &silence{of, err}
	case len(body) > maxAnswer:
		return &silence{of, fmt.Errorf("the answer has more than %d bytes", maxAnswer)}
	case res.StatusCode != http.StatusOK:
		return &refusal{res.StatusCode, of, described(body)}
	}
	if json.Unmarshal(body, v) != nil || !good() {
		return &silence{of, errors.New("the answer is not understood")}
	}
	return nil
}

// described is what a refusal says to people: of OAuth, of Azure, or a line of text.
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
	return short(string(body))
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
