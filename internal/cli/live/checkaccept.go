package live

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatehouse-io/gatehouse/internal/check"
	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// untilForm is how the last day of an acceptance is written.
const untilForm = time.DateOnly

// accepted is an acceptance as it is written in a file.
type accepted struct {
	Rule   string `yaml:"rule"`
	About  thing  `yaml:"about"`
	What   string `yaml:"what"`
	Reason string `yaml:"reason"`
	Until  string `yaml:"until"`
}

// readAcceptances reads a file of acceptances; no file has none. What is written wrongly
// is refused: else what it was to accept would be told, or more than that accepted.
func readAcceptances(file string) ([]check.Acceptance, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, cli.Usage("--accept: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	var list []accepted
	if err := dec.Decode(&list); err != nil && !errors.Is(err, io.EOF) {
		return nil, cli.Usage("--accept %s: %w", file, err)
	}
	var all []check.Acceptance
	for i, a := range list {
		next := check.Acceptance{Rule: a.Rule, What: a.What, Reason: a.Reason}
		if len(a.About.ID) > len(next.About.Parts) {
			return nil, cli.Usage("--accept %s: entry %d: an id has at most %d parts", file, i+1, len(next.About.Parts))
		}
		next.About = record.KeyOf(a.About.Kind, a.About.ID...)
		if a.Until != "" {
			if next.Until, err = time.Parse(untilForm, a.Until); err != nil {
				return nil, cli.Usage("--accept %s: entry %d: until is a day, such as 2026-12-31", file, i+1)
			}
		}
		if err := next.Check(); err != nil {
			return nil, cli.Usage("--accept %s: entry %d: %w", file, i+1, err)
		}
		all = append(all, next)
	}
	return all, nil
}
