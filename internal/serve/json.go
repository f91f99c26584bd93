package serve

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"sync"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// JSON answers v. An error means that nothing was written.
func JSON(w http.ResponseWriter, status int, v any) error {
	body, err := record.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	WriteJSON(w, status, body)
	return nil
}

// WriteJSON answers a body that is JSON already. That the caller is gone by then
// is not worth an error: there is nobody to tell.
func WriteJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(status)
	w.Write(body)
}

// Decode reads the body of r, at most limit bytes, into v. It is as strict as
// record.Unmarshal, and wants the content type application/json.
func Decode(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	return Body(w, r, limit, func(body []byte) error { return record.Unmarshal(body, v) })
}

// Body reads the body of r, at most limit bytes, and calls read with it. The
// bytes are used again after read returns.
func Body(w http.ResponseWriter, r *http.Request, limit int64, read func([]byte) error) error {
	if ct := r.Header.Get("Content-Type"); ct != "application/json" {
		// An empty type is refused as well: browsers can be made to send a cross-site
		// request without one, but never one that says JSON.
		if mt, _, err := mime.ParseMediaType(ct); err != nil || mt != "application/json" {
			return Refuse(http.StatusUnsupportedMediaType, "UnsupportedMediaType", "The body must be application/json.")
		}
	}
	if r.ContentLength > limit {
		return &http.MaxBytesError{Limit: limit}
	}
	src := http.MaxBytesReader(w, r.Body, limit)
	buf := buffers.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= maxKept {
			buffers.Put(buf)
		}
	}()
	body := (*buf)[:0]
	for {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := src.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		*buf = body
		switch {
		case err == io.EOF:
			return read(body)
		case err != nil:
			return fmt.Errorf("read the body: %w", err)
		}
	}
}

// maxKept is the largest buffer that is kept for the next request, in bytes: one
// huge request must not stay in memory for ever.
const maxKept = 64 << 10

var buffers = sync.Pool{New: func() any { return new(make([]byte, 0, 4<<10)) }}
