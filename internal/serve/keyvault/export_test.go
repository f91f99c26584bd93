package keyvault

import (
	"context"
	"strings"
)

// A Route is a method, a path with * for a name and ? for a version, and the whole
// data action that it takes.
type Route struct{ Method, Path, Action string }

// Routes are all routes of the door.
func Routes() []Route {
	var out []Route
	for _, r := range routes() {
		out = append(out, Route{r.method, r.path, r.fullAction()})
	}
	return out
}

// Match returns the first route that a path fits, as a request finds it, and what
// it speaks about.
func Match(method, path string) (route Route, kind, name, version string) {
	for _, r := range routes() {
		if r.method != method {
			continue
		}
		if t, ok := r.match(strings.Split(strings.TrimPrefix(path, "/"), "/")); ok {
			return Route{r.method, r.path, r.fullAction()}, string(t.ref.Kind), t.ref.Name.String(), t.version.String()
		}
	}
	return Route{}, "", "", ""
}

// Occupy takes every place in the lines for keys until the context ends.
func (d *Door) Occupy(ctx context.Context) {
	for _, p := range []*pool{d.using, d.making} {
		for range cap(p.slots) + int(p.queue) {
			go p.do(context.WithoutCancel(ctx), func() error { <-ctx.Done(); return nil })
		}
		for p.waiting.Load() < int64(cap(p.slots))+p.queue && ctx.Err() == nil {
		}
	}
}
