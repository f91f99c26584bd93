package stories_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// The person of story 1 signs in with a real browser, in which JavaScript is
// switched off, for the real kubelogin.
func TestDeviceCodeInABrowserWithoutJavaScript(t *testing.T) {
	stage := onStage(t)
	path := chromium()
	if path == "" {
		t.Skip("there is no chromium: install Debian's package chromium, or put google-chrome into PATH")
	}
	ed := fresh(t, stage, "ed")
	var last string
	ed.Browser = func(ctx context.Context, page, code, user, password string) (err error) {
		last, err = signInWithChromium(ctx, t, path, page, code, user, password)
		return err
	}
	got, err := ed.KubectlAt(t.Context(), withKubelogin(t, stage, "aks-1", "devicecode"), "", "get", "namespaces")
	if err != nil {
		t.Fatal(err)
	}
	if got.Exit != 0 || !strings.Contains(got.Text, "kube-system ") {
		t.Errorf("exit code %d: %s", got.Exit, got.Text)
	}
	if want := "You may now close this window."; !strings.HasSuffix(last, want) {
		t.Errorf("the last page says %q, want ... %q", last, want)
	}
	t.Log(last)
}

func chromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// signInWithChromium approves a code and returns what the last page says.
func signInWithChromium(ctx context.Context, t *testing.T, path, page, code, user, password string) (string, error) {
	trusted, err := keyOf(ctx, shared.up.listen)
	if err != nil {
		return "", err
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.UserDataDir(t.TempDir()), // empty
		// Nothing of a browser's own traffic: it is tested with one server.
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		// It trusts this house's key, and no other unknown certificate.
		chromedp.Flag("ignore-certificate-errors-spki-list", trusted),
	}
	ctx, cancel := chromedp.NewExecAllocator(ctx, options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		return "", fmt.Errorf("chromium: %w", err)
	}
	if err := chromedp.Do(ctx,
		// Where scripts run, what is in noscript is no element.
		chromedp.Navigate(`data:text/html,<noscript><p id="off">off</p></noscript>`),
		chromedp.WaitReady("#off"),
		chromedp.Navigate(page),
		chromedp.SendKeys("#user_code", code),
		chromedp.Click("#next"),
		chromedp.SendKeys("#username", user),
		chromedp.SendKeys("#password", password),
		chromedp.Click("#approve"),
	); err != nil {
		return "", fmt.Errorf("chromium: %w", err)
	}
	return chromedp.Run(ctx, chromedp.Text("#done"))
}

// keyOf is the digest of the public key of a server, as Chromium wants it.
func keyOf(ctx context.Context, addr string) (string, error) {
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // its key is looked at, nothing is sent
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	sum := sha256.Sum256(conn.(*tls.Conn).ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}
