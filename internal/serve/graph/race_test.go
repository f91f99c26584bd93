package graph_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

func TestOfManyWhoAddOneMemberOneWins(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	bearer := h.token(root, "https://graph.microsoft.com")
	target := "/v1.0/groups/" + servetest.DevTeam.String() + "/members/$ref"
	body := fmt.Sprintf(`{"@odata.id":"https://graph.microsoft.com/v1.0/users/%s"}`, servetest.Jet)
	var won atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			switch status, out := h.raw(bearer, http.MethodPost, target, body); status {
			case http.StatusNoContent:
				won.Add(1)
			case http.StatusBadRequest, http.StatusConflict: // it is there already, or came in between
			default:
				t.Errorf("answers %d %v", status, out)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 16 added the member", won.Load())
	}
}

func TestASlashAtTheEndDoesNotMatter(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if got := names(h.must(root, http.MethodGet, "/v1.0/groups/?$select=displayName", ""), "displayName"); len(got) != 3 {
		t.Errorf("the groups are %v", got)
	}
}
