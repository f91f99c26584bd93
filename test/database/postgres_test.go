// Package database_test tries tokens as passwords of a real PostgreSQL, through the
// proxy of examples/postgres, with the real psql. It needs PostgreSQL and
// gatehouse-kube.
package database_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

const audience = "https://ossrdbms-aad.database.windows.net"

var web = directory.ManagedIdentity{
	ID: principal.ID(guid.MustParse[struct{}]("40000000-0000-4000-8000-0000000000f2")), Tenant: plane.Tenant.ID, ClientID: directory.AppID(guid.MustParse[struct{}]("41000000-0000-4000-8000-0000000000f2")),
	DisplayName: "web", Location: "westeurope", Resource: scope.MustParse(plane.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web"),
}

// A server is a PostgreSQL that nobody reaches but through its socket.
type server struct {
	t      *testing.T
	bin    string
	dir    string
	socket string
}

// startServer starts a PostgreSQL which lets this process in as four roles, and nobody else.
func startServer(t *testing.T) *server {
	t.Helper()
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	switch {
	case err != nil || len(dirs) == 0 && os.Getenv("CI") != "":
		t.Fatalf("PostgreSQL is not installed (Debian: postgresql), %v", err)
	case len(dirs) == 0:
		t.Skip("PostgreSQL is not installed (Debian: postgresql)")
	}
	s := &server{t: t, bin: slices.Max(dirs), dir: t.TempDir()}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	as := me
	if me.Uid == "0" { // it does not run as root
		if as, err = user.Lookup("postgres"); err != nil {
			t.Skip("there is no user postgres for the server to run as")
		}
		// Its folder is reached through one that only root may enter otherwise.
		for dir := s.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		uid, gid := numbers(t, as)
		if err := os.Chown(s.dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	s.run(as, "initdb", "-D", s.dir+"/data", "-U", "postgres", "--auth=peer", "--no-sync")
	for name, text := range map[string]string{
		"pg_hba.conf":          "local all all peer map=t\n",
		"pg_ident.conf":        strings.ReplaceAll("t ME postgres\nt ME web\nt ME boss\nt ME other\n", "ME", me.Username),
		"postgresql.auto.conf": "listen_addresses = ''\nunix_socket_directories = '" + s.dir + "'\nfsync = off\n",
	} {
		if err := os.WriteFile(filepath.Join(s.dir, "data", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.run(as, "pg_ctl", "-D", s.dir+"/data", "-l", s.dir+"/log", "-w", "start")
	t.Cleanup(func() { s.run(as, "pg_ctl", "-D", s.dir+"/data", "-m", "immediate", "stop") })
	s.socket = s.dir + "/.s.PGSQL.5432"
	return s
}

func numbers(t *testing.T, u *user.User) (uid, gid int) {
	t.Helper()
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return uid, gid
}

func (s *server) run(as *user.User, name string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	if os.Getuid() == 0 {
		uid, gid := numbers(s.t, as)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// psql runs a command as a role, with a password.
func (s *server) psql(host, port, role, password, command string) (string, error) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), filepath.Join(s.bin, "psql"), "-X", "-A", "-t", "-w", "-h", host, "-p", port, "-U", role, "-d", "postgres", "-c", command)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password, "PGSSLMODE=prefer", "HOME="+s.dir)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// startProxy builds and starts the example, and returns its port.
func startProxy(t *testing.T, args ...string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "pg-tokens")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".")
	build.Dir = filepath.Join("..", "..", "examples", "postgres")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), bin, append([]string{"-listen", "127.0.0.1:0"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line[strings.LastIndex(line, ":")+1:])
}

// The end of story 27: the token of a pod's service account becomes one of a managed
// identity, which a database takes as a password.
func TestADatabaseTakesTokensAsPasswords(t *testing.T) {
	t.Parallel()
	db := startServer(t)
	p := plane.Start(t, plane.Options{WorkloadIdentity: true})
	p.Put(web, directory.FederatedCredential{Owner: web.ClientID, Name: "web", Issuer: p.Cluster().IssuerURL, Subject: "system:serviceaccount:default:web", Audiences: []string{"api://AzureADTokenExchange"}})
	var about struct{ Issuer string }
	fetch(p, "/"+plane.Tenant.ID.String()+"/.well-known/openid-configuration", &about)
	roles := p.Write("roles", fmt.Sprintf("# role and object id\nweb %s\nboss %s\n", web.ID, plane.Boss.ID))
	port := startProxy(t, "-server", db.socket, "-authority", p.House.Authority(), "-issuer", about.Issuer, "-tenant", plane.Tenant.ID.String(), "-ca", p.Write("ca.pem", string(p.CA())), "-roles", roles)
	if out, err := db.psql(db.dir, "5432", "postgres", "", "CREATE ROLE web LOGIN; CREATE ROLE boss LOGIN; CREATE ROLE other LOGIN"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	p.Must("", "create", "serviceaccount", "web")
	account := strings.TrimSpace(p.Must("", "create", "token", "web", "--audience", "api://AzureADTokenExchange"))
	exchange := func(resource string) string {
		res, err := p.Client().PostForm(p.House.Authority()+"/"+plane.Tenant.ID.String()+"/oauth2/v2.0/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {web.ClientID.String()},
			"scope": {resource + "/.default"}, "client_assertion": {account}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var answer struct {
			AccessToken string `json:"access_token"`
			Error       string `json:"error_description"`
		}
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
			t.Fatalf("%s: %v %s", res.Status, err, answer.Error)
		}
		return answer.AccessToken
	}

	tok := exchange(audience)
	out, err := db.psql("127.0.0.1", port, "web", tok, "SELECT current_user, 1+1")
	if err != nil || out != "web|2" {
		t.Errorf("the workload: %v: %s", err, out)
	}
	out, err = db.psql("127.0.0.1", port, "boss", p.TokenFor(audience), "SELECT current_user")
	if err != nil || out != "boss" {
		t.Errorf("a person: %v: %s", err, out)
	}
	for law, who := range map[string]struct{ role, password, want string }{
		"another's role":                     {"boss", tok, "may not be the role"},
		"a role of nobody":                   {"other", tok, "may not be the role"},
		"a role that is not there":           {"postgres", tok, "may not be the role"},
		"JWT-14 a token for another service": {"web", exchange("https://vault.azure.net"), "no valid access token"},
		"a token for SQL Database":           {"web", exchange("https://database.windows.net"), "no valid access token"},
		"the service account's own token":    {"web", account, "no valid access token"},
		"a token with another end":           {"web", tok[:len(tok)-8] + "AAAAAAAA", "no valid access token"},
		"a password":                         {"web", "secret", "no valid access token"},
	} {
		out, err := db.psql("127.0.0.1", port, who.role, who.password, "SELECT current_user")
		if err == nil || !strings.Contains(out, who.want) {
			t.Errorf("%s: %v: %s", law, err, out)
		}
		if strings.Contains(out, who.password) && who.password != "secret" {
			t.Errorf("ZA-01 %s: the answer has the token", law)
		}
	}
}

func fetch(p *plane.Plane, path string, v any) {
	p.T.Helper()
	res, err := p.Client().Get(p.House.Authority() + path)
	if err != nil {
		p.T.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(v); err != nil {
		p.T.Fatal(err)
	}
}
