package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/manifest"
	"github.com/gatehouse-io/gatehouse/internal/manifest/nearest"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// outputs are the ways to print.
var outputs = []string{"table", "wide", "json", "yaml", "name"}

func (o *options) checkOutput() error {
	if slices.Contains(outputs, o.output) {
		return nil
	}
	hint := strings.Join(outputs, ", ")
	if near := nearest.Names(o.output, values(outputs), 1); near != nil {
		hint = fmt.Sprintf("did you mean %s? There are %s", near[0], hint)
	}
	return usage("-o %s is no way to print: %s", o.output, hint)
}

// machine prints a value as JSON or YAML if that is asked for, and reports
// whether it did.
func (o *options) machine(env *Env, v any) (bool, error) {
	if o.output != "json" && o.output != "yaml" {
		return false, nil
	}
	data, err := record.Marshal(v)
	if err != nil {
		return true, err
	}
	if o.output == "yaml" {
		text, err := manifest.YAML(data)
		if err != nil {
			return true, err
		}
		_, err = env.Stdout.Write(text)
		return true, err
	}
	_, err = env.Stdout.Write(append(indentJSON(data), '\n'))
	return true, err
}

// table prints rows under a heading; a heading in parentheses is for wide only. By
// name, it prints what other commands call each row by: its ID, if it has one, else
// what comes first.
func (o *options) table(w io.Writer, heading []string, rows [][]string) {
	if o.output == "name" {
		at := max(0, slices.Index(heading, "ID"))
		for _, row := range rows {
			fmt.Fprintln(w, printable(row[at]))
		}
		return
	}
	var text strings.Builder
	tw := tabwriter.NewWriter(&text, 0, 8, 3, ' ', 0)
	line := func(cells []string) {
		var shown []string
		for i, cell := range cells {
			if strings.HasPrefix(heading[i], "(") && o.output != "wide" {
				continue
			}
			shown = append(shown, printable(cell))
		}
		fmt.Fprintln(tw, strings.Join(shown, "\t"))
	}
	titles := make([]string, len(heading))
	for i, h := range heading {
		titles[i] = strings.Trim(h, "()")
	}
	line(titles)
	for _, row := range rows {
		line(row)
	}
	tw.Flush()
	// Not before: cells that are empty at the end of a line still make columns.
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// printable keeps what is stored from moving the cursor of whoever looks at it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || 0x7f <= r && r < 0xa0 || r == '\u2028' || r == '\u2029' || 0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 {
			return '\ufffd'
		}
		return r
	}, s)
}

// Colours, for a person at a terminal who has not refused them (no-color.org).
const (
	green = "32"
	red   = "31"
)

func (e *Env) colour(code, text string) string {
	if !e.Terminal || e.Getenv("NO_COLOR") != "" || e.Getenv("TERM") == "dumb" {
		return text
	}
	return "\x1b[1;" + code + "m" + text + "\x1b[0m"
}

// note tells a person something beside the answer.
func (e *Env) note(format string, args ...any) {
	fmt.Fprintf(e.Stderr, format+"\n", args...)
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
