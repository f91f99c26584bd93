// Command pod is the program in the pods of the tests: a workload as users of the
// Azure SDK for Go write it, static, alone in its image. `pod pause` does nothing, as
// the first process of a sandbox does; `pod secret` reads the secret that SECRET names;
// `pod serve` answers over HTTP on port 8080 and prints what it was asked.
//
//	/secret?name=N   reads a secret as WorkloadIdentityCredential, once made and kept
//	/fresh?name=N    the same with a credential of its own; file=F takes another token
//	/token           what the projected token says, without its signature
//	/managed?name=N  reads a secret as ManagedIdentityCredential, which keeps tokens for
//	                 the whole process; client=ID names an identity
//	/file?name=N     says what is in a file below /mnt
//	/pair?name=N     says whose certificate is with its private key in a file below /mnt
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	switch strings.Join(os.Args[1:], " ") {
	case "pause":
		<-ctx.Done()
	case "secret":
		fmt.Println(fresh(ctx, os.Getenv("SECRET"), ""))
	case "serve":
		if err := serve(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: pod pause | pod serve | pod secret")
		os.Exit(2)
	}
}

func serve(ctx context.Context) error {
	kept, keptErr := client("")
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
	handle := func(path string, answer func(*http.Request) string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			text := answer(r)
			fmt.Println(r.URL, text)
			fmt.Fprintln(w, text)
		})
	}
	handle("/secret", func(r *http.Request) string {
		if keptErr != nil {
			return said(keptErr)
		}
		return read(r.Context(), kept, r.FormValue("name"))
	})
	handle("/fresh", func(r *http.Request) string { return fresh(r.Context(), r.FormValue("name"), r.FormValue("file")) })
	handle("/token", func(*http.Request) string { return claims(os.Getenv("AZURE_FEDERATED_TOKEN_FILE")) })
	handle("/file", func(r *http.Request) string { return file(r.FormValue("name")) })
	handle("/pair", func(r *http.Request) string { return pair(r.FormValue("name")) })
	handle("/managed", func(r *http.Request) string { return managed(r.Context(), r.FormValue("name"), r.FormValue("client")) })
	srv := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: time.Second}
	fmt.Println("serving")
	go func() {
		<-ctx.Done()
		srv.Close()
	}()
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// client reads the vault of the environment. It asks the house for what the SDK would
// ask Microsoft: what its authority is, and whether the vault is one of Azure.
func client(file string) (*azsecrets.Client, error) {
	cred, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: opts, DisableInstanceDiscovery: true, TokenFilePath: file})
	if err != nil {
		return nil, err
	}
	return reader(cred)
}

// opts: tests try again, and the SDK does not.
var opts = azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}

func reader(cred azcore.TokenCredential) (*azsecrets.Client, error) {
	return azsecrets.NewClient(os.Getenv("GATEHOUSE")+"/vaults/"+os.Getenv("VAULT"), cred, &azsecrets.ClientOptions{ClientOptions: opts, DisableChallengeResourceVerification: true})
}

// managed asks the metadata service of the machine for a token.
func managed(ctx context.Context, name, client string) string {
	o := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: opts}
	if client != "" {
		o.ID = azidentity.ClientID(client)
	}
	cred, err := azidentity.NewManagedIdentityCredential(o)
	if err != nil {
		return said(err)
	}
	c, err := reader(cred)
	if err != nil {
		return said(err)
	}
	return read(ctx, c, name)
}

func fresh(ctx context.Context, name, file string) string {
	c, err := client(file)
	if err != nil {
		return said(err)
	}
	return read(ctx, c, name)
}

// read says what a secret is.
func read(ctx context.Context, c *azsecrets.Client, name string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s, err := c.GetSecret(ctx, name, "", nil)
	if err != nil {
		return said(err)
	}
	return digest([]byte(*s.Value))
}

// digest says of a text how long it is, and the beginning of its hash.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return fmt.Sprintf("%d bytes, %s", len(text), hex.EncodeToString(sum[:4]))
}

// mounted is where volumes are.
const mounted = "/mnt"

func file(name string) string {
	text, err := os.ReadFile(filepath.Join(mounted, name))
	if err != nil {
		return err.Error()
	}
	return digest(text)
}

func pair(name string) string {
	path := filepath.Join(mounted, name)
	c, err := tls.LoadX509KeyPair(path, path)
	if err != nil {
		return err.Error()
	}
	return c.Leaf.Subject.String()
}

var sts = regexp.MustCompile(`AADSTS\d+`)

// said is the code in an error.
func said(err error) string {
	if code := sts.FindString(err.Error()); code != "" {
		return "refused: " + code
	}
	if refusal, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return fmt.Sprintf("refused: %d %s", refusal.StatusCode, refusal.ErrorCode)
	}
	if refusal, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok && refusal.RawResponse != nil {
		return fmt.Sprintf("refused: %d", refusal.RawResponse.StatusCode)
	}
	return "no answer: " + strings.ReplaceAll(err.Error(), "\n", " ")
}

// claims are the payload of a token in a file.
func claims(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	parts := strings.Split(string(text), ".")
	if len(parts) != 3 {
		return "no token"
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err.Error()
	}
	return string(payload)
}
