// Package identityrequest is the life of a request for an identity: an
// application team asks that service accounts of its namespace may be a managed
// identity, its owner approves, and later it is retired.
//
// A Request is its own history. What it has come to is computed from that and from
// an instant, so that what lapses or expires does so by itself; nothing is swept.
// Who has the right to ask and to approve is for the engine to say, and not known
// here. What is known here are the laws that hold whoever asks: nobody answers his
// own request, there is one end, what was asked never changes, and nothing is
// approved for longer than it was asked for.
package identityrequest

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// ID names a request.
type ID = directory.IdentityRequestID

// NewID returns a fresh random id.
func NewID() ID { return ID(guid.New[struct{}]()) }

// Bounds of a request.
const (
	// Window is how long a request waits for its answer.
	Window = 7 * 24 * time.Hour
	// MaxLasts is the longest that a request with an end asks for.
	MaxLasts = azurerbac.Duration(365 * 24 * time.Hour)

	MaxServiceAccounts = 10
	MaxRoles           = 10
	maxWhy             = 1000 // bytes
)

// Errors that callers branch on. Test for them with errors.Is.
var (
	// ErrStatus: the request is not, or no longer, one with which that can be done.
	ErrStatus = errors.New("not possible any more")
	// ErrOwn: somebody answers his own request, or withdraws another's.
	ErrOwn = errors.New("not for this person to do")
	// ErrWider: an approval gives more than was asked for.
	ErrWider = errors.New("more than was asked for")
)

// A Request asks that service accounts of a namespace may be a managed identity. All
// but History and Given is as it was asked.
type Request struct {
	ID        ID                 `json:"id"`
	Tenant    directory.TenantID `json:"tenant"`
	Requester principal.ID       `json:"requester"`
	// Identity is the resource of the user-assigned managed identity.
	Identity scope.Scope `json:"identity"`
	// New is set when the identity is to be made.
	New New `json:"new,omitzero"`

	Cluster         scope.Scope `json:"cluster"`
	Namespace       string      `json:"namespace"`
	ServiceAccounts []string    `json:"serviceAccounts"`
	// Lasts is for how long from the approval on; zero is until it is retired.
	Lasts azurerbac.Duration `json:"lasts,omitzero"`

	// History is what happened, oldest first. It only grows.
	History []Event `json:"history"`
	// Given is what the approval made; zero without one.
	Given Given `json:"given,omitzero"`
}

// New is an identity that is to be made. The zero New is none.
type New struct {
	// Name is the last part of its resource id, in the letters that it is to have.
	Name     string `json:"name"`
	Location string `json:"location"`
	// Roles are what it is to be given.
	Roles []Role `json:"roles,omitzero"`
}

// A Role is one of Azure at a place.
type Role struct {
	Role  azurerbac.DefinitionID `json:"role"`
	Scope scope.Scope            `json:"scope"`
}

// IsNew reports whether the identity is to be made.
func (r Request) IsNew() bool { return r.New.Name != "" }

// Key implements record.Record.
func (r Request) Key() record.Key { return record.KeyOf(record.IdentityRequest, r.ID.String()) }

const (
	typeIdentity = "microsoft.managedidentity/userassignedidentities"
	typeCluster  = "microsoft.containerservice/managedclusters"
)

// name is what Azure lets a managed identity be called.
var name = regexp.MustCompile(`^[A-Za-z0-9][-\w]{2,127}$`)

// Validate implements record.Record: it checks what is asked, and that the history
// is one that can have come about.
func (r Request) Validate() error {
	if err := r.validateAsked(); err != nil {
		return fmt.Errorf("identity request %s: %w", r.ID, err)
	}
	if err := r.validateHistory(); err != nil {
		return fmt.Errorf("identity request %s: %w", r.ID, err)
	}
	return nil
}

func (r Request) validateAsked() error {
	_, inGroup := r.Identity.ResourceGroup()
	switch {
	case r.ID.IsZero() || r.Tenant.IsZero() || r.Requester.IsZero():
		return record.Invalid("without an id, a tenant or a requester")
	case r.Identity.Type() != typeIdentity || !inGroup:
		return record.Invalid("%q is not the scope of a user-assigned managed identity", r.Identity)
	case r.Cluster.Type() != typeCluster:
		return record.Invalid("%q is not the scope of a cluster", r.Cluster)
	case len(r.ServiceAccounts) == 0 || len(r.ServiceAccounts) > MaxServiceAccounts:
		return record.Invalid("%d service accounts, want 1 to %d", len(r.ServiceAccounts), MaxServiceAccounts)
	case r.Lasts < 0 || r.Lasts > MaxLasts:
		return record.Invalid("it lasts %s, at most %s", r.Lasts, MaxLasts)
	}
	for i, account := range r.ServiceAccounts {
		if _, ok := kuberbac.ServiceAccountOf(r.subject(account)); !ok {
			return record.Invalid("%.80q in namespace %.80q is no service account", account, r.Namespace)
		}
		if slices.Contains(r.ServiceAccounts[:i], account) {
			return record.Invalid("service account %s stands twice", account)
		}
	}
	return r.New.validate(r.Identity)
}

func (n New) validate(at scope.Scope) error {
	switch {
	case n.Name == "" && (n.Location != "" || len(n.Roles) > 0):
		return record.Invalid("a location and roles are for an identity that is to be made")
	case n.Name == "":
		return nil
	case !name.MatchString(n.Name) || strings.ToLower(n.Name) != at.Name():
		return record.Invalid("%.140q is not the name of the identity %q, of 3 to 128 letters, digits, hyphens and underscores", n.Name, at)
	case n.Location == "" || len(n.Location) > 80:
		return record.Invalid("an identity that is to be made has a location")
	case len(n.Roles) > MaxRoles:
		return record.Invalid("%d roles, at most %d", len(n.Roles), MaxRoles)
	}
	for i, role := range n.Roles {
		if role.Role.IsZero() || role.Scope.IsZero() || slices.Contains(n.Roles[:i], role) {
			return record.Invalid("a role without its id or a place, or one that stands twice")
		}
	}
	return nil
}

// Follows refuses a request that is not old with at most one event more.
func (r Request) Follows(old Request) error {
	if len(r.History) > len(old.History)+1 || !r.Continues(old) {
		return record.Invalid("what was asked and what happened do not change, and one thing happens at a time")
	}
	return nil
}

// Continues reports whether a request is old, with whatever has happened since.
func (r Request) Continues(old Request) bool {
	n := len(old.History)
	if len(r.History) < n {
		return false
	}
	was := r
	was.History = r.History[:n]
	if old.Given.IsZero() && len(r.History) > n {
		was.Given = Given{}
	}
	a, err1 := record.Marshal(old)
	b, err2 := record.Marshal(was)
	return err1 == nil && err2 == nil && bytes.Equal(a, b)
}

func checkWhy(why string) error {
	if len(why) > maxWhy || !utf8.ValidString(why) {
		return record.Invalid("a reason of %d bytes, at most %d of UTF-8", len(why), maxWhy)
	}
	return nil
}
