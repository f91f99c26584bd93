package house_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// refused starts a house that must not start, and returns why.
func refused(t *testing.T, conf house.Config) error {
	t.Helper()
	h, err := house.Start(t.Context(), conf)
	if err == nil {
		h.Stop()
		t.Fatal("the house started")
	}
	return err
}

func TestOneDirectoryHasOneHouse(t *testing.T) {
	t.Parallel()
	conf := config(t, t.TempDir()+"/data")
	h, err := house.Start(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	second := config(t, string(conf.Dir))
	before := listing(t, string(conf.Dir))
	if err := refused(t, second); !errors.Is(err, house.ErrInUse) || !strings.Contains(err.Error(), "(process ") {
		t.Errorf("a second house in the directory: %v", err)
	}
	if after := listing(t, string(conf.Dir)); after != before {
		t.Errorf("the second house touched files:\n%s\nbefore:\n%s", after, before)
	}
	h.Stop()
	h, err = house.Start(t.Context(), second)
	if err != nil {
		t.Fatalf("after the first has stopped: %v", err)
	}
	h.Stop()
}

// listing names the files of a directory but for those that etcd moves by itself.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && d.Name() == "etcd" {
				return fs.SkipDir
			}
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b.WriteString(path + " " + info.ModTime().String() + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAHouseThatCannotRunMakesNothing(t *testing.T) {
	t.Parallel()
	for _, which := range []string{"--listen", "--webhook-listen", "--proxy-listen"} {
		t.Run(which+" is taken", func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			conf := config(t, t.TempDir()+"/data")
			*map[string]*string{"--listen": &conf.Listen, "--webhook-listen": &conf.WebhookListen, "--proxy-listen": &conf.ProxyListen}[which] = ln.Addr().String()
			if err := refused(t, conf); !strings.Contains(err.Error(), "is taken by another program") || !strings.HasSuffix(err.Error(), "with "+which) {
				t.Errorf("error %q does not say what to do", err)
			}
			if _, err := os.Stat(string(conf.Dir) + "/etcd"); !os.IsNotExist(err) {
				t.Errorf("it began a store: %v", err)
			}
		})
	}
}

func TestWhatAnotherVersionWroteIsRefused(t *testing.T) { // ST: restart with another version
	t.Parallel()
	conf := config(t, t.TempDir()+"/data")
	if err := os.MkdirAll(string(conf.Dir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(string(conf.Dir)+"/version", []byte("2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := refused(t, conf); !strings.Contains(err.Error(), `has layout "2", this version of gatehouse reads "1"`) {
		t.Error(err)
	}
}

func TestALostStoreIsNotBegunAnew(t *testing.T) {
	t.Parallel()
	conf := config(t, t.TempDir()+"/data")
	h, err := house.Start(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	h.Stop()
	if err := os.RemoveAll(string(conf.Dir) + "/etcd"); err != nil {
		t.Fatal(err)
	}
	if err := refused(t, conf); !errors.Is(err, store.ErrForeign) || !strings.Contains(err.Error(), "bring back the files") {
		t.Errorf("without its database: %v", err)
	}
}

func TestALostKeyIsNotReplaced(t *testing.T) {
	t.Parallel()
	conf := config(t, t.TempDir()+"/data")
	h, err := house.Start(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	h.Stop()
	if err := os.Remove(string(conf.Dir) + "/key"); err != nil {
		t.Fatal(err)
	}
	if err := refused(t, conf); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its key: %v", err)
	}
	if _, err := os.Stat(string(conf.Dir) + "/key"); !os.IsNotExist(err) {
		t.Errorf("another key was made: %v", err)
	}
}

func TestAnInterruptedFirstStartGoesOn(t *testing.T) {
	t.Parallel()
	conf := config(t, t.TempDir()+"/data")
	h, err := house.Start(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	h.Stop()
	// As if it had ended between making the key and noting the store.
	for _, gone := range []string{"etcd", "store", "operator.json"} {
		if err := os.RemoveAll(string(conf.Dir) + "/" + gone); err != nil {
			t.Fatal(err)
		}
	}
	if h, err = house.Start(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	h.Stop()
}

func TestPortZeroIsAFreePortAndPartOfTheAuthority(t *testing.T) {
	t.Parallel()
	conf := config(t, t.TempDir()+"/data")
	conf.Listen, conf.WebhookListen = "127.0.0.1:0", "127.0.0.1:0"
	h, err := house.Start(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Stop()
	if a := h.Authority(); !strings.HasPrefix(a, "https://127.0.0.1:") || strings.HasSuffix(a, ":0") {
		t.Errorf("the authority is %s", a)
	}
	if _, token := operatorToken(t, conf.Dir); token == "" {
		t.Error("nobody answers there")
	}
}
