package doctor

import (
	"fmt"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// whoseID says whose a GUID is that is no client id: to write the object id in its
// place is the commonest slip.
func (e Estate) whoseID(text string) (says string, client directory.AppID) {
	id, err := principal.ParseID(text)
	if err != nil {
		return "", directory.AppID{}
	}
	for _, i := range e.TokenHolders() {
		if i.Object == id {
			return fmt.Sprintf("it is the object id of %s, whose client id is %s", i, i.Client), i.Client
		}
	}
	if a, ok := e.ApplicationByID(id); ok {
		return fmt.Sprintf("it is the object id of application %s, whose client id is %s", a.DisplayName, a.AppID), a.AppID
	}
	if _, ok := e.Tenant(directory.TenantID(id)); ok {
		return "it is the id of the tenant", directory.AppID{}
	}
	if e.Unread != "" {
		return "", directory.AppID{}
	}
	// Another one that differs in two places or less.
	for _, i := range e.TokenHolders() {
		if differing(i.Client.String(), id.String()) <= 2 {
			return fmt.Sprintf("%s has %s: compare the two", i, i.Client), i.Client
		}
	}
	return "", directory.AppID{}
}

func differing(a, b string) int {
	n := 0
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// client finds the identity behind a client id that an account asks for, and says
// what is wrong with it.
func (a Account) client(f *findings, text string) (Identity, bool) {
	e, fix := a.Estate, a.annotateTrusted()
	var id directory.AppID
	if err := id.UnmarshalText([]byte(text)); err != nil {
		f.wrong("client-id", fix, "the client id %q is no GUID", text)
		return Identity{}, false
	}
	i, ok := e.Identity(id)
	says, meant := e.whoseID(text)
	switch {
	case ok && i.Disabled:
		f.wrong("client-id", "enable "+i.String()+" again, or name another identity", "%s, whose client id %s is, is disabled", i, text)
	case ok:
		f.add(Finding{Check: "client-id", Verdict: Right, What: fmt.Sprintf("the client id is that of %s", i), Got: text})
	case !meant.IsZero():
		f.add(Finding{Check: "client-id", Verdict: Wrong, What: "no identity has this client id: " + says, Got: text, Want: meant.String(), Differ: Compare(text, meant.String()), Fix: a.annotate(meant.String())})
	case says != "":
		f.add(Finding{Check: "client-id", Verdict: Wrong, What: "no identity has this client id: " + says, Got: text, Fix: fix})
	case e.Unread != "":
		f.add(Finding{Check: "client-id", What: "no identity with this client id is seen, and there may be one: " + e.Unread, Got: text})
	default:
		f.add(Finding{Check: "client-id", Verdict: Wrong, What: "no application and no managed identity has this client id", Got: text, Fix: fix})
	}
	return i, ok
}
