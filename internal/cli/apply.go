package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/manifest"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

func newApply(env *Env, o *options) *cobra.Command {
	var (
		c          change
		from       []string
		prune, dry bool
		yes        bool
	)
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Check estate files, show what they change, and make it so on a server",
		Long: `Check estate files and show what they would change: + is new, ~ is changed, - goes.

With --estate, or with nothing to compare with, nothing is written: this is how
files are checked before they are kept. With --server the changes are made, all or
none, after they have been shown and agreed to. What the files do not mention stays,
unless --prune is given. In a dry run the exit code is 1 when something would change.`,
		Example: `  gatehouse apply -f new-team.yaml --estate ./teknews
  gatehouse apply -f ./teknews --server https://127.0.0.1:8443 --yes --why "quarterly review"
  gatehouse export --estate ./teknews | gatehouse apply -f - --estate ./teknews`,
		GroupID: files,
		Args:    exactly(),
	}
	f := cmd.Flags()
	f.StringArrayVarP(&from, "filename", "f", nil, "`file` or folder to read, - for standard input; may be repeated")
	f.BoolVar(&prune, "prune", false, "delete what the estate has and the files do not")
	f.BoolVar(&dry, "dry-run", false, "change nothing, also on a server")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask before changing a server")
	c.flags(cmd)
	cmd.RunE = run(func(ctx context.Context, _ []string) error {
		if err := o.checkOutput(); err != nil {
			return err
		}
		if len(from) == 0 {
			return usage("say what to read, with -f")
		}
		read, err := readFiles(env, from)
		if err != nil {
			return err
		}
		est, err := o.below(ctx, env)
		if err != nil {
			return err
		}
		recs, err := manifest.Decode(read.All, est)
		if err != nil {
			return &Exit{ExitUsage, err}
		}
		if len(recs) == 0 && prune {
			return usage("the files are empty: --prune would delete the whole estate")
		}
		changes := manifest.Diff(est, recs, prune)
		// The estate has the last word on whether the changes go together.
		next, err := est.Apply(est.Revision(), manifest.Ops(changes)...)
		if err != nil {
			return &Exit{ExitUsage, fmt.Errorf("the estate does not take it: %w", err)}
		}
		if err := printChanges(env, o, est, next, changes); err != nil {
			return err
		}
		_, url := o.where(env)
		switch {
		case len(changes) == 0:
			return nil
		case dry || url == "":
			return &Exit{Code: ExitNo}
		case !yes && !confirm(env, changes):
			env.note("nothing was changed")
			return &Exit{Code: ExitNo}
		}
		return c.commit(ctx, env, o, "gatehouse apply", func(now *estate.Snapshot) ([]estate.Op, string, error) {
			// Only what was shown is made, whatever happened since.
			if now.Revision() != est.Revision() && !sameChanges(changes, manifest.Diff(now, recs, prune)) {
				return nil, "", errors.New("the estate changed after the changes were shown; nothing was changed: look at them again")
			}
			return manifest.Ops(changes), plural(len(changes), "change") + " made", nil
		})
	})
	return cmd
}

// sameChanges reports whether two lists of changes do the same.
func sameChanges(a, b []manifest.Change) bool {
	return slices.EqualFunc(a, b, func(x, y manifest.Change) bool {
		if x.Key != y.Key || (x.Before == nil) != (y.Before == nil) || (x.After == nil) != (y.After == nil) {
			return false
		}
		return x.Before == nil || sameText(x.Before, y.Before)
	})
}

// sameText reports whether two versions of a record read the same.
func sameText(a, b record.Record) bool {
	x, errX := record.Marshal(a)
	y, errY := record.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// below returns the estate to compare with: the folder's, the server's, or the
// empty one.
func (o *options) below(ctx context.Context, env *Env) (*estate.Snapshot, error) {
	if dir, url := o.where(env); dir == "" && url == "" {
		return estate.New(), nil
	}
	_, est, err := o.look(ctx, env)
	return est, err
}

// readFiles reads what -f names.
func readFiles(env *Env, from []string) (manifest.Files, error) {
	var all manifest.Files
	for _, name := range from {
		if name == "-" {
			data, err := io.ReadAll(env.Stdin)
			if err != nil {
				return nil, fmt.Errorf("read standard input: %w", err)
			}
			all = append(all, manifest.File{Name: "stdin.yaml", Data: data})
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, usage("-f: %w", err)
		}
		if !info.IsDir() {
			data, err := os.ReadFile(name)
			if err != nil {
				return nil, usage("-f: %w", err)
			}
			all = append(all, manifest.File{Name: name, Data: data})
			continue
		}
		fsys, err := env.OpenDir(name)
		if err != nil {
			return nil, usage("-f: %w", err)
		}
		found, err := manifest.ReadDir(fsys)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, usage("-f %s: no *.yaml, *.yml or *.json file in it", name)
		}
		for _, file := range found {
			all = append(all, manifest.File{Name: filepath.ToSlash(filepath.Join(name, file.Name)), Data: file.Data})
		}
	}
	return all, nil
}

// confirm asks the person at the terminal.
func confirm(env *Env, changes []manifest.Change) bool {
	return Confirm(env, "Make "+plural(len(changes), "change")+"?")
}

// A changeView is a change as machines read it.
type changeView struct {
	Change string      `json:"change"` // create, update or delete
	Kind   record.Kind `json:"kind"`
	Key    []string    `json:"key"`
	Before any         `json:"before,omitzero"`
	After  any         `json:"after,omitzero"`
}

// printChanges shows changes. New names are known to next alone, old ones to est.
func printChanges(env *Env, o *options, est, next *estate.Snapshot, changes []manifest.Change) error {
	views := make([]changeView, len(changes))
	for i, c := range changes {
		views[i] = changeView{Change: "update", Kind: c.Key.Kind}
		for _, part := range c.Key.Parts {
			if part != "" {
				views[i].Key = append(views[i].Key, part)
			}
		}
		switch {
		case c.Before == nil:
			views[i].Change = "create"
		case c.After == nil:
			views[i].Change = "delete"
		}
		if c.Before != nil {
			views[i].Before = c.Before
		}
		if c.After != nil {
			views[i].After = c.After
		}
	}
	if done, err := o.machine(env, struct {
		Changes []changeView `json:"changes"`
	}{views}); done {
		return err
	}
	if len(changes) == 0 {
		env.note("nothing changes")
		return nil
	}
	for i, c := range changes {
		mark := map[string]string{"create": "+", "update": "~", "delete": "-"}[views[i].Change]
		fmt.Fprintf(env.Stdout, "%s %s\n", mark, printable(title(est, next, c)))
		if views[i].Change != "update" || o.output == "name" {
			continue
		}
		lines, err := differences(c.Before, c.After)
		if err != nil {
			return err
		}
		for _, l := range lines {
			fmt.Fprintf(env.Stdout, "    %s\n", printable(l))
		}
	}
	return nil
}

// title names a changed record for people.
func title(est, next *estate.Snapshot, c manifest.Change) string {
	if c.After == nil {
		return describeRecord(est, c.Before)
	}
	return describeRecord(next, c.After)
}

// differences are the lines in which two versions of a record differ.
func differences(before, after record.Record) ([]string, error) {
	a, err := text(before)
	if err != nil {
		return nil, err
	}
	b, err := text(after)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, side := range []struct {
		mark       string
		lines, not []string
	}{{"-", a, b}, {"+", b, a}} {
		for _, l := range side.lines {
			if count(side.lines, l) != count(side.not, l) {
				out = append(out, side.mark+" "+l)
			}
		}
	}
	return out, nil
}

func count(list []string, s string) int {
	n := 0
	for _, l := range list {
		if l == s {
			n++
		}
	}
	return n
}

func text(rec record.Record) ([]string, error) {
	var b bytes.Buffer
	if err := manifest.Encode(&b, values([]record.Record{rec})); err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n"), nil
}
