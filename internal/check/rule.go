package check

import "fmt"

// A Severity says how grave it is when a rule is broken. The zero Severity is none.
type Severity int

// The severities.
const (
	Low    Severity = iota + 1 // untidy, or a step of defence that is missing
	Medium                     // more access than is needed
	High                       // a way to access that nobody gave
)

var severities = [...]string{Low: "low", Medium: "medium", High: "high"}

func (s Severity) String() string { return severities[s] }

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Severity) UnmarshalText(text []byte) error {
	for i := Low; i <= High; i++ {
		if severities[i] == string(text) {
			*s = i
			return nil
		}
	}
	return fmt.Errorf("%.40q is no severity: want low, medium or high", text)
}

// A Rule is one recommendation, made a question to an estate.
type Rule struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"` // what is wrong when the rule is broken, in a few words
	Severity Severity `json:"severity"`
	Source   string   `json:"source"`  // the document and its section
	Explain  string   `json:"explain"` // why, and what the fix comes to
	look     func(*look)
}

// The documents whose recommendations are checked.
const (
	bestPractices2019 = "Operator best practices - Identity in AKS, 2019"
	bestPractices     = "Best practices for authentication and authorization in AKS"
	zeroToHero        = "From zero to hero with identity and access control in AKS, 2025"
	identityOverview  = "an article on identity management in AKS"
	enterpriseScale   = "Identity and access management for the AKS enterprise-scale scenario, 2021"
)

// Rules returns all rules: those of clusters, of identities, of access.
func Rules() []Rule {
	var all []Rule
	for _, some := range [][]Rule{clusterRules, identityRules, credentialRules, assignmentRules, bindingRules, escalationRules} {
		all = append(all, some...)
	}
	return all
}

// FindRule returns the rule with an id.
func FindRule(id string) (Rule, bool) {
	for _, r := range Rules() {
		if r.ID == id {
			return r, true
		}
	}
	return Rule{}, false
}
