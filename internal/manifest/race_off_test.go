//go:build !race

package manifest_test

// raced is set when the race detector runs, which makes everything many times
// slower: it looks for races, and the limits in time are not its business.
const raced = false
