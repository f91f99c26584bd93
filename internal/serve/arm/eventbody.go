package arm

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// An event is one line of the activity log.
type event struct {
	at    scope.Scope // where the right to read it is asked
	about scope.Scope // another place that it is about; may be none
	by    string      // the object id of the caller
	body  eventBody
}

// eventBody is an event as clients read it. Source: "Azure Activity Log event schema".
type eventBody struct {
	Authorization        *eventAuthorization `json:"authorization,omitzero"`
	Caller               string              `json:"caller,omitzero"`
	Channels             string              `json:"channels"`
	Claims               map[string]string   `json:"claims,omitzero"`
	CorrelationID        string              `json:"correlationId"`
	Description          string              `json:"description"`
	EventDataID          string              `json:"eventDataId"`
	EventName            localized           `json:"eventName"`
	Category             localized           `json:"category"`
	EventTimestamp       string              `json:"eventTimestamp"`
	ID                   string              `json:"id"`
	Level                string              `json:"level"`
	OperationID          string              `json:"operationId"`
	OperationName        localized           `json:"operationName"`
	ResourceGroupName    string              `json:"resourceGroupName"`
	ResourceProviderName localized           `json:"resourceProviderName"`
	ResourceType         localized           `json:"resourceType"`
	ResourceID           string              `json:"resourceId"`
	Status               localized           `json:"status"`
	SubStatus            localized           `json:"subStatus"`
	SubmissionTimestamp  string              `json:"submissionTimestamp"`
	SubscriptionID       string              `json:"subscriptionId"`
	TenantID             string              `json:"tenantId"`
	Properties           map[string]string   `json:"properties"`
}

type eventAuthorization struct {
	Action string `json:"action"`
	Scope  string `json:"scope"`
}

type localized struct {
	Value     string `json:"value"`
	Localized string `json:"localizedValue"`
}

func same(text string) localized { return localized{text, text} }

// eventsOf are the events in a subscription that an audit record is, the alerts first:
// they came of the changes.
func (s *session) eventsOf(rec store.AuditRecord, sub scope.Scope) []event {
	var all []event
	for i, a := range rec.Alerts {
		for _, at := range a.Clusters {
			if sub.Contains(at) {
				all = append(all, s.alertEvent(rec, i, a, at))
			}
		}
	}
	for i, c := range rec.Changes {
		if e, ok := s.changeEvent(rec, i, c, sub); ok {
			all = append(all, e)
		}
	}
	return all
}

// changeEvent is the event of one change. What is in no subscription is in none, and
// neither is what clusters tell about themselves.
func (s *session) changeEvent(rec store.AuditRecord, i int, c store.AuditChange, sub scope.Scope) (event, bool) {
	verb, value := "write", c.Value
	if value == nil {
		verb, value = "delete", c.Was
	}
	if value == nil || c.Kind == record.KubeRole || c.Kind == record.KubeBinding {
		return event{}, false
	}
	r, err := estate.Decode(c.Kind, value)
	if err != nil {
		return event{}, false
	}
	typ, places := serve.PlacesOf(s.est, r)
	for _, at := range places {
		if !sub.Contains(at) {
			continue
		}
		e := s.newEvent(rec, "change", i, at)
		id := s.spell(at)
		if name, under := strings.CutPrefix(typ, authorization+"/"); under && len(c.Parts) > 0 {
			id = s.extensionID(at, name, c.Parts[0])
		}
		if f, is := r.(directory.FederatedCredential); is {
			id += "/federatedIdentityCredentials/" + f.Name
		}
		provider, _, _ := strings.Cut(typ, "/")
		b := &e.body
		b.Category, b.Level, b.Status, b.Description = same("Administrative"), "Informational", same("Succeeded"), rec.Why
		b.OperationName = same(typ + "/" + verb)
		b.Authorization = &eventAuthorization{b.OperationName.Value, id}
		b.ResourceProviderName, b.ResourceType, b.ResourceID = same(provider), same(typ), id
		b.EventName = localized{"EndRequest", "End request"}
		b.Properties = map[string]string{"entity": id, "message": b.OperationName.Value, "hierarchy": strings.TrimPrefix(sub.Name(), "/")}
		b.ID = id + b.ID
		return e, true
	}
	return event{}, false
}

// alertEvent is the event of an alert about a cluster.
func (s *session) alertEvent(rec store.AuditRecord, i int, a alert.Alert, at scope.Scope) event {
	e := s.newEvent(rec, "alert "+at.String(), i, at)
	e.about = a.Resource
	place := "global"
	if c, ok := s.est.Cluster(at); ok {
		place = cmp.Or(c.Location, place)
	}
	what := "Identity of a cluster used outside of the cluster"
	if a.Way == alert.WroteCredential || a.Way == alert.WroteBinding {
		what = "Identity of a cluster made usable outside of the cluster"
	}
	rg, _ := at.ResourceGroup()
	b := &e.body
	const typ = "Microsoft.Security/locations/alerts"
	b.ResourceID = s.spell(rg) + "/providers/Microsoft.Security/locations/" + place + "/alerts/" + b.EventDataID
	b.Category, b.Level, b.Status = same("Security"), "Warning", same("Active")
	b.EventName, b.Description = same(what), fmt.Sprintf("%s. The identity %s of the cluster %s: %s, from %s.", what, s.spell(a.Resource), s.spell(at), a.Way, a.From)
	b.OperationName = localized{typ + "/activate/action", "Activate Alert"}
	b.ResourceProviderName, b.ResourceType = same("Microsoft.Security"), same(typ)
	b.Properties = map[string]string{
		"actionTaken": "Detected", "severity": "High", "compromisedEntity": s.spell(a.Resource), "resourceType": "Kubernetes Service", "attackedResourceType": "Kubernetes Service",
		"cluster": s.spell(at), "principalId": a.Identity.String(), "way": string(a.Way), "from": a.From, "detail": a.Detail,
	}
	b.ID = b.ResourceID + b.ID
	return e
}

// newEvent is what every event of a record at a place has. The id of its body is only
// its end.
func (s *session) newEvent(rec store.AuditRecord, what string, i int, at scope.Scope) event {
	id := guid.Derived[event]("activity log", rec.Request, what, fmt.Sprint(i)).String()
	when := rec.Time.UTC().Format(time.RFC3339Nano)
	rg, _ := at.ResourceGroup()
	sub, _ := at.Subscription()
	correlation := rec.Request
	if len(correlation) == 32 { // as GUIDs are written
		correlation = correlation[:8] + "-" + correlation[8:12] + "-" + correlation[12:16] + "-" + correlation[16:20] + "-" + correlation[20:]
	}
	e := event{at: at, body: eventBody{
		Channels: "Operation", CorrelationID: correlation, OperationID: correlation, EventDataID: id, EventTimestamp: when, SubmissionTimestamp: when,
		SubStatus: same(""), SubscriptionID: sub.Name(), TenantID: s.tenant.String(),
		// Ticks are tenths of a microsecond since the year 1.
		ID: fmt.Sprintf("/events/%s/ticks/%d", id, rec.Time.Unix()*1e7+int64(rec.Time.Nanosecond()/100)+621355968000000000),
	}}
	if !rg.IsZero() {
		e.body.ResourceGroupName = lastOf(s.spell(rg))
	}
	if !rec.By.IsZero() {
		e.by = rec.By.String()
		e.body.Caller = s.callerName(rec.By)
		e.body.Claims = map[string]string{"http://schemas.microsoft.com/identity/claims/objectidentifier": e.by}
	}
	return e
}

// callerName is what the activity log calls somebody: by his user principal name, and
// all else by its object id.
func (s *session) callerName(id principal.ID) string {
	if u, ok := s.est.User(id); ok && u.Tenant == s.tenant {
		return u.UserPrincipalName
	}
	return id.String()
}

func lastOf(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }
