package live

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/cli"
)

// openers are the programs by which clients open a page: az asks BROWSER, the
// clients in Go look for these.
var openers = []string{"xdg-open", "x-www-browser", "www-browser"}

// findBrowser returns the program that opens pages for the person, or "". A
// machine without a screen has none: there clients turn to the device code.
func findBrowser(env *cli.Env, folder string) string {
	ours := filepath.Join(folder, "bin")
	first, _, _ := strings.Cut(env.Getenv("BROWSER"), ":")
	if first != "" && !strings.ContainsAny(first, "% ") && filepath.Dir(first) != ours {
		return first
	}
	if runtime.GOOS != "darwin" && env.Getenv("DISPLAY") == "" && env.Getenv("WAYLAND_DISPLAY") == "" {
		return ""
	}
	for _, dir := range filepath.SplitList(env.Getenv("PATH")) {
		if dir == ours {
			continue
		}
		for _, name := range append([]string{"open"}, openers...) {
			path := filepath.Join(dir, name)
			if name == "open" && runtime.GOOS != "darwin" { // elsewhere it is another program
				continue
			}
			if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
				return path
			}
		}
	}
	return ""
}

// leadBrowser puts a program where clients look for a browser. The person's own
// browser knows nothing of the proxy: under the public cloud's name it would show
// him the real sign-in page. It is sent to the same page at the house's own URL.
func (p pointing) leadBrowser() error {
	text := `#!/bin/sh
# Opens the sign-in page of the house in a browser that knows nothing of its proxy.
page=$1
case $page in
` + strings.TrimSuffix(publicLogin, "/") + `/*) page=` + shellQuote(p.authority) + `/"${page#` + publicLogin + `}" ;;
esac
` + p.lines(false) + `exec ` + shellQuote(p.browser) + ` "$page"
`
	bin := filepath.Join(p.folder, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return err
	}
	for _, name := range openers {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// publicLogin begins the addresses of sign-in pages in the public cloud.
const publicLogin = "https://login.microsoftonline.com/"
