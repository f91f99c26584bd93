package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// Bounds on one folder.
const (
	maxFiles  = 10_000
	maxFolder = 1 << 30 // bytes of all files
)

// LoadDir reads the *.yaml, *.yml and *.json files of a folder and of the
// folders in it as one estate at revision 0. Names that begin with a dot are
// skipped. It is the caller's business that fsys does not lead outside of the
// folder: pass (*os.Root).FS, which refuses links that do.
func LoadDir(fsys fs.FS) (*estate.Snapshot, error) {
	files, err := ReadDir(fsys)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("no *.yaml, *.yml or *.json file in the folder: write one, or begin with a copy of the sample: gatehouse sample")
	}
	return Load(files)
}

// Load reads files as one estate at revision 0.
func Load(files Files) (*estate.Snapshot, error) {
	located, err := decode(files.All, nil)
	if err != nil {
		return nil, err
	}
	est, err := estate.Load(0, func(yield func(record.Record) bool) {
		for _, p := range located {
			if !yield(p.Record) {
				return
			}
		}
	})
	if err != nil {
		return nil, locate(located, err)
	}
	return est, nil
}

// locate says where the record stands that the estate did not take. The estate
// names it by its key.
func locate(located []placed, err error) error {
	text := err.Error()
	for _, p := range located {
		if strings.Contains(text, p.Key().String()+":") {
			return &Problem{File: p.file, Line: p.line, What: plain(err)}
		}
	}
	return err
}

// A File is one file of an estate.
type File struct {
	Name string
	Data []byte
}

// Files are the files of an estate, in order of their names.
type Files []File

// All yields names and contents.
func (f Files) All(yield func(string, []byte) bool) {
	for _, file := range f {
		if !yield(file.Name, file.Data) {
			return
		}
	}
}

// ReadDir returns the estate files of a folder in the order of their names.
func ReadDir(fsys fs.FS) (Files, error) {
	var files Files
	total := 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := path.Base(name); name != "." && strings.HasPrefix(base, ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() || !isEstateFile(name) {
			return nil
		}
		data, err := readFile(fsys, name)
		if err != nil {
			return err
		}
		if total += len(data); total > maxFolder || len(files) == maxFiles {
			return fmt.Errorf("more than %d files or %d bytes in the folder: split it", maxFiles, maxFolder)
		}
		files = append(files, File{name, data})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read estate folder: %w", err)
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

func isEstateFile(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// readFile reads a regular file and no device or pipe, which might never end.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: more than %d bytes: split it", name, maxFile)
	}
	return data, nil
}
