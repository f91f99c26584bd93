package azure_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/test/azure"
)

// A key that others may know is stopped, and with it every token that it signed,
// which clients keep for an hour. The house says in its refusal that another token is
// needed, and whoever has a refresh token goes on with the same command. Who is
// disabled reads why he gets none.
func TestClientsReplaceATokenThatIsRefused(t *testing.T) { // DIR-11
	t.Parallel()
	house := azure.Start(t, azure.Options{}) // its keys are stopped
	person, gone, program := house.Desk(t), house.Desk(t), house.Desk(t)
	person.Login(t, penny)
	gone.Login(t, jet)
	program.LoginOperator(t)
	list := []string{"group", "list", "--query", "[].name", "-o", "tsv"}
	for _, desk := range []*azure.Desk{person, gone, program} {
		desk.Az(t, list...)
	}
	house.Operate(t, "user", "disable", jet, "--why", "left")
	wantLine(t, gone.Run(t, "az", list...), 1, `ERROR: AADSTS50057: `)

	var chain struct{ Keys []struct{ ID, Tenant string } }
	if err := json.Unmarshal([]byte(house.Operate(t, "keys", "list", "-o", "json")), &chain); err != nil || len(chain.Keys) == 0 {
		t.Fatalf("%v %+v", err, chain)
	}
	for _, k := range chain.Keys {
		house.Operate(t, "keys", "stop", k.ID)
	}
	res := person.Run(t, "az", list...)
	if res.Code != 0 || !strings.Contains(res.Out, storyGroup) || !strings.Contains(res.Err, "with claims challenge") {
		t.Errorf("who has a refresh token: %d\n%s%s", res.Code, res.Out, res.Err)
	}
	// For a program, az of this version takes the same token from its cache again.
	wantLine(t, program.Run(t, "az", list...), 1, `ERROR: \(InvalidAuthenticationToken\) `)
	program.LoginOperator(t)
	program.Az(t, list...)
}
