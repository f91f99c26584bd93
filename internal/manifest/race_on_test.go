//go:build race

package manifest_test

const raced = true
