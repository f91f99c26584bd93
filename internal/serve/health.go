package serve

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
)

// A Check is one thing that must be true for the house to answer.
type Check struct {
	Name  string
	Check func(context.Context) error // nil error: it is true
	// Note is what everybody must know although the check passes; nil or "" is nothing.
	Note func() string
}

// Live answers /livez: the process runs and serves.
func Live() Handler {
	return func(w http.ResponseWriter, _ *http.Request) error {
		writeText(w, http.StatusOK, []byte("ok\n"))
		return nil
	}
}

// Ready answers /readyz: 200 when every check passes, 503 otherwise. With
// ?verbose each check has a line. Anybody may ask, so reasons stay in the log,
// as the error of the request.
func Ready(checks ...Check) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var lines bytes.Buffer
		var failed error
		for _, c := range checks {
			if err := c.Check(r.Context()); err != nil {
				lines.WriteString("[-]" + c.Name + " failed\n")
				failed = fmt.Errorf("not ready: %s: %w", c.Name, err)
			} else if note := c.note(); note != "" {
				lines.WriteString("[!]" + c.Name + ": " + note + "\n")
			} else {
				lines.WriteString("[+]" + c.Name + " ok\n")
			}
		}
		if !r.URL.Query().Has("verbose") {
			lines.Reset()
		}
		if failed == nil {
			lines.WriteString("ok\n")
			writeText(w, http.StatusOK, lines.Bytes())
			return nil
		}
		lines.WriteString("not ready\n")
		writeText(w, http.StatusServiceUnavailable, lines.Bytes())
		return failed
	}
}

func (c Check) note() string {
	if c.Note == nil {
		return ""
	}
	return c.Note()
}

func writeText(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	w.Write(body)
}
