package serve

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
)

// ByName serves things of which each has a host of its own in Azure, all on one
// host: below a prefix and the thing's name. handle answers with the name, which is
// empty where the path has none, and the escaped path behind it.
func ByName(prefix string, handle func(name, path string) http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ok := strings.CutPrefix(r.URL.EscapedPath(), prefix)
		name, path, _ := strings.Cut(rest, "/")
		if !ok {
			name = ""
		}
		handle(name, "/"+path).ServeHTTP(w, r)
	})
}

// One serves one of them, as on its own host.
func One(name string, handle func(name, path string) http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handle(name, r.URL.EscapedPath()).ServeHTTP(w, r)
	})
}

// PageKey returns the key that authenticates links to next pages: the one given, or
// a random one for nil. A short one is an error.
func PageKey(given []byte) ([]byte, error) {
	const least = 32 // bytes
	switch {
	case given == nil:
		given = make([]byte, least)
		rand.Read(given) // never fails
	case len(given) < least:
		return nil, fmt.Errorf("the page key has %d bytes, and needs %d", len(given), least)
	}
	return given, nil
}
