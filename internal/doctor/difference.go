package doctor

import (
	"strings"
)

// A Kind is how two texts differ that should be the same.
type Kind string

// The kinds, the nearest first.
const (
	TrailingSlash       Kind = "trailing slash"
	LetterCase          Kind = "letter case"
	Blanks              Kind = "blanks"
	Scheme              Kind = "scheme"         // http and https
	Prefix              Kind = "missing prefix" // one lacks its api:// or system:serviceaccount:
	OtherServiceAccount Kind = "other service account"
	OtherNamespace      Kind = "other namespace"
	OtherPath           Kind = "other path" // of a URL at the same host
	OtherHost           Kind = "other host"
	OtherText           Kind = "other text"
)

// near are the kinds of a slip of the pen: the two texts mean one thing.
var near = map[Kind]bool{TrailingSlash: true, LetterCase: true, Blanks: true, Scheme: true, Prefix: true}

// A Difference is how two texts differ.
type Difference struct {
	Kind Kind `json:"kind"`
	// At is the first byte that differs, counted from 0, in the text that there is.
	At int `json:"at"`
	// Detail says it in words.
	Detail string `json:"detail"`
}

// Slip reports whether somebody meant the one and wrote the other.
func (d *Difference) Slip() bool { return d != nil && near[d.Kind] }

// Compare says how what there is differs from what it would have to be. Texts that
// are the same, byte for byte, have no difference, and others have one.
func Compare(got, want string) *Difference {
	if got == want {
		return nil
	}
	d := &Difference{Kind: OtherText, At: common(got, want)}
	for _, look := range []func(got, want string) (Kind, string){slash, blanks, letters, scheme, prefix, account, address} {
		if kind, detail := look(got, want); kind != "" {
			d.Kind, d.Detail = kind, detail
			return d
		}
	}
	switch {
	case got == "":
		d.Detail = "there is none"
	case d.At == len(got):
		d.Detail = "it ends too early"
	case d.At == len(want):
		d.Detail = "it goes on too long"
	default:
		d.Detail = "another text"
	}
	return d
}

// common is how many bytes two texts have in common at their beginning.
func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func slash(got, want string) (Kind, string) {
	switch {
	case got+"/" == want:
		return TrailingSlash, "the slash at the end is missing"
	case got == want+"/":
		return TrailingSlash, "there is a slash too many at the end"
	}
	return "", ""
}

func blanks(got, want string) (Kind, string) {
	strip := func(s string) string { return strings.Join(strings.Fields(s), "") }
	if strip(got) == strip(want) {
		return Blanks, "there are other blanks in it"
	}
	return "", ""
}

func letters(got, want string) (Kind, string) {
	if strings.EqualFold(got, want) {
		return LetterCase, "letters are compared exactly, and some are of the other case"
	}
	return "", ""
}

func scheme(got, want string) (Kind, string) {
	g, gok := strings.CutPrefix(got, "http://")
	w, wok := strings.CutPrefix(want, "https://")
	if gok && wok && strings.TrimSuffix(g, "/") == strings.TrimSuffix(w, "/") {
		return Scheme, "it says http and must say https"
	}
	g, gok = strings.CutPrefix(got, "https://")
	w, wok = strings.CutPrefix(want, "http://")
	if gok && wok && strings.TrimSuffix(g, "/") == strings.TrimSuffix(w, "/") {
		return Scheme, "it says https where http is expected"
	}
	return "", ""
}

// accountPrefix begins the subject of every service account.
const accountPrefix = "system:serviceaccount:"

func prefix(got, want string) (Kind, string) {
	for _, p := range []string{"api://", accountPrefix, "https://"} {
		if bare, ok := strings.CutPrefix(want, p); ok && strings.EqualFold(got, bare) {
			return Prefix, p + " is missing at the beginning"
		}
		if bare, ok := strings.CutPrefix(got, p); ok && strings.EqualFold(bare, want) {
			return Prefix, p + " is too much at the beginning"
		}
	}
	return "", ""
}

// cutAccount takes the subject of a service account apart.
func cutAccount(subject string) (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(subject, accountPrefix)
	if !ok {
		return "", "", false
	}
	namespace, name, ok = strings.Cut(rest, ":")
	return namespace, name, ok && namespace != "" && name != "" && !strings.Contains(name, ":")
}

func account(got, want string) (Kind, string) {
	gns, gname, gok := cutAccount(got)
	wns, wname, wok := cutAccount(want)
	switch {
	case !gok || !wok:
		return "", ""
	case gns == wns:
		return OtherServiceAccount, "the service account is " + gname + ", not " + wname
	case gname == wname:
		return OtherNamespace, "the namespace is " + gns + ", not " + wns
	}
	return OtherNamespace, "the namespace is " + gns + ", not " + wns + ", and the service account " + gname + ", not " + wname
}

func address(got, want string) (Kind, string) {
	g, gok := strings.CutPrefix(got, "https://")
	w, wok := strings.CutPrefix(want, "https://")
	if !gok || !wok {
		return "", ""
	}
	ghost, _, _ := strings.Cut(g, "/")
	whost, _, _ := strings.Cut(w, "/")
	if ghost == whost {
		return OtherPath, "another issuer at the same host"
	}
	return OtherHost, "the host is " + ghost + ", not " + whost
}

// distance is how far two texts are apart; 0 if they are the same.
func distance(got, want string) int {
	d := Compare(got, want)
	switch {
	case d == nil:
		return 0
	case d.Slip():
		return 1
	}
	tail := 0
	for tail < len(got)-d.At && tail < len(want)-d.At && got[len(got)-1-tail] == want[len(want)-1-tail] {
		tail++
	}
	return 1 + max(len(got), len(want)) - d.At - tail
}
