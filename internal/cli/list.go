package cli

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/manifest"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// A row is one record of a list: what people call it, and its cells.
type row struct {
	rec   record.Record
	name  string
	cells []string
}

// listing makes of cmd a command that lists what rows finds, in order.
func listing(env *Env, o *options, noun string, heading []string, cmd *cobra.Command, rows func(est *estate.Snapshot, args []string) ([]row, error)) *cobra.Command {
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		_, est, err := o.look(ctx, env)
		if err != nil {
			return err
		}
		found, err := rows(est, args)
		if err != nil {
			return err
		}
		sortRows(found)
		return o.list(env, noun, heading, found)
	})
	return cmd
}

// showing makes of cmd a command that shows the one thing that its argument names.
func showing(env *Env, o *options, noun string, cmd *cobra.Command, facts func(est *estate.Snapshot, name string) (row, []fact, error)) *cobra.Command {
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		_, est, err := o.look(ctx, env)
		if err != nil {
			return err
		}
		r, told, err := facts(est, args[0])
		if err != nil {
			return err
		}
		return o.show(env, noun, r, told)
	})
	return cmd
}

// list prints records: as a table, by name, or in the form that apply reads.
func (o *options) list(env *Env, noun string, heading []string, rows []row) error {
	recs := func(yield func(record.Record) bool) {
		for _, r := range rows {
			if !yield(r.rec) {
				return
			}
		}
	}
	switch o.output {
	case "json":
		data, err := manifest.EncodeJSON(recs)
		if err != nil {
			return err
		}
		_, err = env.Stdout.Write(append(indentJSON(data), '\n'))
		return err
	case "yaml":
		return manifest.Encode(env.Stdout, recs)
	case "name":
		for _, r := range rows {
			fmt.Fprintf(env.Stdout, "%s/%s\n", noun, printable(r.name))
		}
		return nil
	}
	if len(rows) == 0 {
		env.note("no %s", noun)
		return nil
	}
	cells := make([][]string, len(rows))
	for i, r := range rows {
		cells[i] = r.cells
	}
	o.table(env.Stdout, heading, cells)
	return nil
}

// A fact is one line of show.
type fact struct{ name, text string }

// show prints one record with what the estate says about it.
func (o *options) show(env *Env, noun string, r row, facts []fact) error {
	if o.output != "table" && o.output != "wide" {
		if o.output == "json" {
			return o.showJSON(env, r.rec)
		}
		return o.list(env, noun, nil, []row{r})
	}
	wide := 0
	for _, f := range facts {
		wide = max(wide, len(f.name))
	}
	for _, f := range facts {
		if f.text != "" {
			fmt.Fprintf(env.Stdout, "%-*s   %s\n", wide, f.name, printable(f.text))
		}
	}
	return nil
}

// showJSON prints one record as one document, not as a list.
func (o *options) showJSON(env *Env, rec record.Record) error {
	data, err := record.Marshal(rec)
	if err != nil {
		return err
	}
	kind := fmt.Appendf(nil, `{"kind":%q,`, rec.Key().Kind)
	data = append(kind, bytes.TrimPrefix(data, []byte("{"))...)
	_, err = env.Stdout.Write(append(indentJSON(data), '\n'))
	return err
}

func sortRows(rows []row) {
	slices.SortFunc(rows, func(a, b row) int { return slices.Compare(a.cells, b.cells) })
}
