package arm

import (
	"fmt"
)

// listPermissions lists what the caller has been given at a place. It needs no
// right: it tells nobody anything about others.
func listPermissions(s *session, r *request) (answer, error) {
	if err := s.reach(r.at); err != nil && !s.unseen(r.at) {
		return answer{}, err
	}
	who, ok := s.law.Resolve(s.caller.ID)
	if !ok {
		return s.page(r, nil)
	}
	var rows []row
	for _, g := range who.Azure {
		if !g.Assigned.ActiveAt(s.now) || !s.above(g.Scope, r.at) {
			continue
		}
		for i, p := range permissionBodies(g.Role.Definition.Permissions) {
			if g.Assigned.Condition != "" {
				p.Condition, p.ConditionVersion = g.Assigned.Condition, g.Assigned.ConditionVersion
			}
			rows = append(rows, row{fmt.Sprintf("%s-%03d", g.Assigned.ID, i), p})
		}
	}
	return s.page(r, rows)
}
