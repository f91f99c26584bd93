package signin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/oauth2"
)

// browser signs in with the authorization code grant and PKCE (RFC 8252): the
// browser comes back to a listener of this process on loopback.
func (c Config) browser(ctx context.Context, conf *oauth2.Config) (*oauth2.Token, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	conf.RedirectURL = fmt.Sprintf("http://localhost:%d", ln.Addr().(*net.TCPAddr).Port)
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	type answer struct {
		code string
		err  error
	}
	answers := make(chan answer, 1)
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("state") != state {
			http.Error(w, "This answer belongs to another sign-in.", http.StatusBadRequest)
			return
		}
		a := answer{code: r.FormValue("code")}
		if a.code == "" {
			a.err = errors.New(r.FormValue("error") + ": " + r.FormValue("error_description"))
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "You may close this window and go back to the terminal.")
		select {
		case answers <- a:
		default:
		}
	})}
	go srv.Serve(ln)
	defer srv.Close()
	url := conf.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier))
	fmt.Fprintf(c.Tell, "To sign in, open this address if your browser does not do it by itself:\n%s\n", url)
	openBrowser(url)
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case a := <-answers:
		if a.err != nil {
			return nil, a.err
		}
		return conf.Exchange(ctx, a.code, oauth2.VerifierOption(verifier))
	}
}

// openBrowser tries; the address has been shown in any case.
func openBrowser(url string) {
	name := "xdg-open"
	if runtime.GOOS == "darwin" {
		name = "open"
	}
	if cmd := exec.Command(name, url); cmd.Start() == nil {
		go cmd.Wait()
	}
}
