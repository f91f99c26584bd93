package house

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// An Operator is the credential of the service principal that runs a house: it
// has the role Owner at the root, and obeys the same rules as everybody.
type Operator struct {
	Authority string             `json:"authority"`
	Tenant    directory.TenantID `json:"tenant"`
	ClientID  directory.AppID    `json:"clientId"`
	Secret    string             `json:"clientSecret"`
	// CA is the file of the authority that signed the house's certificate.
	CA string `json:"caFile"`
	// Expires is when the secret ends.
	Expires time.Time `json:"expires"`
}

// ReadOperator reads the operator's credential of a data directory.
func ReadOperator(path string) (Operator, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Operator{}, err
	}
	var op Operator
	if err := json.Unmarshal(data, &op, json.RejectUnknownMembers(true)); err != nil {
		return Operator{}, fmt.Errorf("%s: %w", path, err)
	}
	return op, nil
}

// operatorName is the display name of the operator's application.
const operatorName = "Gatehouse operator"

// secretLife is how long the operator's secret is good; a start in its last third
// renews it.
const secretLife = 365 * 24 * time.Hour

// settle makes sure that the estate has a tenant and an operator whose credential
// is in the data directory.
func (h *House) settle(ctx context.Context) error {
	est := h.store.Current()
	var change store.Change
	change.Why = "first start"
	if next, _ := firstTenant(est); next == nil {
		recs := h.conf.First
		for _, r := range recs {
			change.Ops = append(change.Ops, estate.Op{Put: r})
			if u, ok := r.(directory.User); ok && h.conf.FirstPassword != "" {
				op, err := issue.PasswordOp(u.ID, h.conf.FirstPassword, h.now())
				if err != nil {
					return err
				}
				change.Private = append(change.Private, op)
			}
		}
		if trial, err := est.Apply(est.Revision(), change.Ops...); err != nil {
			return err
		} else if t, _ := firstTenant(trial); t == nil {
			change.Ops = append(change.Ops, estate.Op{Put: directory.Tenant{ID: directory.NewTenantID(), DisplayName: h.conf.Domain, Domains: []string{h.conf.Domain}}})
		}
	}
	trial, err := est.Apply(est.Revision(), change.Ops...)
	if err != nil {
		return err
	}
	tenant, _ := firstTenant(trial)
	old, err := ReadOperator(h.conf.Dir.Operator())
	if err == nil {
		_, known := est.ServicePrincipalOf(old.Tenant, old.ClientID)
		if _, home := est.Tenant(old.Tenant); known && home {
			next := old
			next.Authority, next.CA = h.conf.Authority, h.conf.Dir.CA()
			if h.ending(old) {
				if err := h.newSecret(&next, &change); err != nil {
					return err
				}
			}
			if err := h.commit(ctx, change); err != nil || next == old {
				return err
			}
			return h.writeOperator(next)
		}
	} else if !os.IsNotExist(err) {
		return err
	}
	op, err := h.newOperator(*tenant, &change)
	if err != nil {
		return err
	}
	if err := h.commit(ctx, change); err != nil {
		return err
	}
	return h.writeOperator(op)
}

func (h *House) commit(ctx context.Context, c store.Change) error {
	if len(c.Ops) == 0 && len(c.Private) == 0 {
		return nil
	}
	_, err := h.store.Commit(ctx, c)
	return err
}

func firstTenant(est *estate.Snapshot) (*directory.Tenant, bool) {
	for t := range est.Tenants() {
		return &t, true
	}
	return nil, false
}

// newOperator adds an operator to a change.
func (h *House) newOperator(tenant directory.Tenant, change *store.Change) (Operator, error) {
	app := directory.Application{ID: principal.NewID(), AppID: directory.NewAppID(), Tenant: tenant.ID, DisplayName: operatorName}
	sp := directory.ServicePrincipal{ID: principal.NewID(), AppID: app.AppID, Tenant: tenant.ID, DisplayName: operatorName}
	owner, ok := estate.New().DefinitionByName("Owner")
	if !ok {
		return Operator{}, errors.New("the built-in role Owner is missing")
	}
	change.Ops = append(change.Ops, estate.Op{Put: app}, estate.Op{Put: sp}, estate.Op{Put: azurerbac.Assignment{
		ID: azurerbac.NewAssignmentID(), Scope: scope.Root, Principal: sp.ID, PrincipalType: principal.ServicePrincipal, Role: owner.ID,
		Description: "the operator of this house", CreatedOn: h.now(),
	}})
	op := Operator{Authority: h.conf.Authority, Tenant: tenant.ID, ClientID: app.AppID, CA: h.conf.Dir.CA()}
	return op, h.newSecret(&op, change)
}

// ending reports whether the operator's secret is in its last third.
func (h *House) ending(op Operator) bool { return h.now().Add(secretLife / 3).After(op.Expires) }

// newSecret gives the operator a fresh secret; the one before goes on until its end.
func (h *House) newSecret(op *Operator, change *store.Change) error {
	secret, err := issue.NewClientSecret(op.ClientID, "operator.json", h.now(), secretLife)
	if err != nil {
		return err
	}
	change.Private = append(change.Private, secret.Op)
	op.Secret, op.Expires = secret.Text.Reveal(), secret.Expires.UTC().Truncate(time.Second)
	return nil
}

func (h *House) writeOperator(op Operator) error {
	data, err := json.Marshal(op)
	if err != nil {
		return err
	}
	return write(h.conf.Dir.Operator(), append(data, '\n'))
}
