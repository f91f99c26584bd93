package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/sample"
)

func newSample(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "sample DIR",
		Short: "Write the sample estate into a new folder",
		Long: `Write the files of the sample estate "teknews" into a folder: three clusters, the
people and groups of the tour, and their grants. It is a good thing to try questions
on, and to begin an estate of one's own from. Files that are there are not overwritten.`,
		Example: "  gatehouse sample ./teknews\n  gatehouse who-can list secrets --cluster aks-1 --estate ./teknews",
		GroupID: files,
		Args:    exactly("DIR"),
		RunE: run(func(_ context.Context, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			n := 0
			err := fs.WalkDir(sample.FS(), ".", func(name string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				data, err := fs.ReadFile(sample.FS(), name)
				if err != nil {
					return err
				}
				n++
				return writeNew(filepath.Join(args[0], filepath.FromSlash(name)), data)
			})
			if err != nil {
				return err
			}
			env.note("%s written; ask with --estate %s", plural(n, "file"), args[0])
			return nil
		}),
	}
}

// writeNew writes a file that is not there yet.
func writeNew(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return usage("%s is there already: name a new folder", name)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), f.Close())
	}
	return f.Close()
}
