package graph

import (
	"maps"
	"slices"
)

// ReadFilter parses a filter and writes it again.
func ReadFilter(text string) (string, error) {
	f, err := parseFilter(text)
	return f.String(), err
}

// Routes are the methods and paths that the door serves, with {id} and {other} for
// names.
func Routes() []string { return slices.Sorted(maps.Keys((&Door{}).routes())) }
