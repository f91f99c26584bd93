package kuberbac

import (
	"slices"
	"strings"
)

// Names that Kubernetes gives to service accounts and their groups.
const (
	serviceAccountPrefix = "system:serviceaccount:"

	// AllServiceAccounts is the group of every service account of a cluster.
	AllServiceAccounts = "system:serviceaccounts"
	// AllAuthenticated is the group of everyone whose name the API server knows.
	AllAuthenticated = "system:authenticated"
	// AllUnauthenticated is the group of everyone else.
	AllUnauthenticated = "system:unauthenticated"
	// Masters is the group that the API server lets do everything, asking nobody.
	Masters = "system:masters"
)

// ServiceAccountOf returns the service account whose user name this is, and
// false when the name is none of the form system:serviceaccount:{namespace}:{name}.
func ServiceAccountOf(user string) (Subject, bool) {
	rest, ok := strings.CutPrefix(user, serviceAccountPrefix)
	if !ok {
		return Subject{}, false
	}
	namespace, name, _ := strings.Cut(rest, ":")
	if !isDNSLabel(namespace) || !isDNSSubdomain(name) {
		return Subject{}, false
	}
	return Subject{Kind: ServiceAccount, Namespace: namespace, Name: name}, true
}

// UserName returns the name by which the API server knows the subject: the one
// a token review answers for a service account, the name itself for a user, and
// "" for a group, which is no user.
func (s Subject) UserName() string {
	switch s.Kind {
	case User:
		return s.Name
	case ServiceAccount:
		return serviceAccountPrefix + s.Namespace + ":" + s.Name
	}
	return ""
}

// Groups returns the groups that the API server puts a service account in;
// nil for other kinds, whose groups only their issuer knows.
func (s Subject) Groups() []string {
	if s.Kind != ServiceAccount {
		return nil
	}
	return []string{AllServiceAccounts, AllServiceAccounts + ":" + s.Namespace, AllAuthenticated}
}

// Is reports whether the subject speaks of a user with these groups. The zero
// Subject, and a service account without a namespace, speak of nobody.
func (s Subject) Is(user string, groups []string) bool {
	switch s.Kind {
	case User:
		return s.Name == user
	case Group:
		return slices.Contains(groups, s.Name)
	case ServiceAccount:
		if s.Namespace == "" {
			return false
		}
		rest, ok := strings.CutPrefix(user, serviceAccountPrefix)
		n := len(s.Namespace)
		return ok && len(rest) == n+1+len(s.Name) && rest[n] == ':' && rest[:n] == s.Namespace && rest[n+1:] == s.Name
	}
	return false
}
