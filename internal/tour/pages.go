package tour

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

// A Browser walks the sign-in pages as a person does: it reads a form, fills it
// in and sends it back, with the cookies that it was given.
type Browser struct {
	client *http.Client
}

// NewBrowser returns a browser without cookies that reaches sites by a transport.
func NewBrowser(transport http.RoundTripper) (*Browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &Browser{&http.Client{Transport: transport, Jar: jar}}, nil
}

var (
	inputs  = regexp.MustCompile(`<input[^>]*\sname="([^"]*)"[^>]*>`)
	value   = regexp.MustCompile(`\svalue="([^"]*)"`)
	formTo  = regexp.MustCompile(`<form[^>]*\saction="([^"]*)"`)
	alert   = regexp.MustCompile(`<p id="(?:message|error)"[^>]*>([^<]*)<`)
	confirm = regexp.MustCompile(`<p id="done"[^>]*>([^<]*)<`)
)

// Approve enters a user code at the page of a token service, and signs a person
// in there. It returns what the last page says.
func (b *Browser) Approve(ctx context.Context, page, code, user, password string) (string, error) {
	text, err := b.Get(ctx, page)
	if err != nil {
		return "", err
	}
	text, err = b.Submit(ctx, page, text, map[string]string{"user_code": code, "action": "code"})
	if err != nil {
		return "", err
	}
	text, err = b.Submit(ctx, page, text, map[string]string{"username": user, "password": password, "action": "approve"})
	if err != nil {
		return "", err
	}
	done := confirm.FindStringSubmatch(text)
	if done == nil {
		return "", errors.New("sign in: the last page does not say that it is done")
	}
	return html.UnescapeString(done[1]), nil
}

// Get returns the text of a page.
func (b *Browser) Get(ctx context.Context, page string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return "", err
	}
	return b.do(req)
}

// Submit sends the form of a page that was read, with some of its fields filled in.
func (b *Browser) Submit(ctx context.Context, page, text string, fill map[string]string) (string, error) {
	form := url.Values{}
	for _, in := range inputs.FindAllStringSubmatch(text, -1) {
		if v := value.FindStringSubmatch(in[0]); v != nil {
			form.Set(html.UnescapeString(in[1]), html.UnescapeString(v[1]))
		}
	}
	for name, v := range fill {
		form.Set(name, v)
	}
	to := formTo.FindStringSubmatch(text)
	if to == nil {
		return "", errors.New("sign in: the page has no form")
	}
	base, err := url.Parse(page)
	if err != nil {
		return "", err
	}
	target, err := base.Parse(html.UnescapeString(to[1]))
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(req)
}

func (b *Browser) do(req *http.Request) (string, error) {
	res, err := b.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		if said := alert.FindSubmatch(body); said != nil {
			return "", fmt.Errorf("sign in: %s", html.UnescapeString(string(said[1])))
		}
		return "", fmt.Errorf("sign in: %s %s: %s", req.Method, req.URL.Path, res.Status)
	}
	return string(body), nil
}
