// Package clouds answers the question which every Azure Resource Manager answers
// without a token: what is this cloud, and where are its services? Clients that
// are given nothing but the address of the house find the rest here.
package clouds

import (
	"net/http"
	"net/url"

	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// Path is where the documents are.
const Path = "/metadata/endpoints"

// A Cloud is one front of the house as its clients see it. The fields are URLs
// without a slash at the end.
type Cloud struct {
	Name            string
	Login           string
	ResourceManager string
	Graph           string
	// SignInAtADFS sends clients that check authorities with Microsoft to the path
	// /adfs of Login, because of such they check none.
	SignInAtADFS bool
}

// Audience is what tokens for the Resource Manager of every front are for.
const audience = "https://management.core.windows.net/"

// Handler answers for a cloud in the form that the client's api-version has.
func Handler(c Cloud, opt serve.Options) http.Handler {
	return serve.Handle(func(w http.ResponseWriter, r *http.Request) error {
		if r.URL.Path != Path {
			return serve.Refuse(http.StatusNotFound, "NotFound", "The metadata that there is stands at "+Path+".")
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			return serve.Refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "The metadata can only be read.")
		}
		q, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil || len(q["api-version"]) > 1 {
			return serve.Refuse(http.StatusBadRequest, "BadRequest", "The query string is malformed.")
		}
		switch version := q.Get("api-version"); {
		case version == "":
			return serve.Refuse(http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
		case version < "2018":
			return serve.JSON(w, http.StatusOK, c.oldest())
		case version < "2022":
			return serve.JSON(w, http.StatusOK, []endpoints{c.endpoints(c.SignInAtADFS)})
		default:
			// Who knows this form can be told not to check the authority.
			return serve.JSON(w, http.StatusOK, c.endpoints(false))
		}
	}, opt)
}

// oldest is the form of 2015, which az cloud register reads.
type oldest struct {
	Gallery        string         `json:"galleryEndpoint"`
	Graph          string         `json:"graphEndpoint"`
	Portal         string         `json:"portalEndpoint"`
	Authentication authentication `json:"authentication"`
}

type authentication struct {
	LoginEndpoint    string   `json:"loginEndpoint"`
	Audiences        []string `json:"audiences"`
	Tenant           string   `json:"tenant,omitzero"`
	IdentityProvider string   `json:"identityProvider,omitzero"`
}

// endpoints is the form since 2019: one of a list, and since 2022 alone. What the
// house does not have keeps its name in the public cloud, because clients want
// something there.
type endpoints struct {
	Name            string         `json:"name"`
	Portal          string         `json:"portal"`
	Authentication  authentication `json:"authentication"`
	ResourceManager string         `json:"resourceManager"`
	Graph           string         `json:"graph"`
	GraphAudience   string         `json:"graphAudience"`
	MicrosoftGraph  string         `json:"microsoftGraphResourceId"`
	Gallery         string         `json:"gallery"`
	SQLManagement   string         `json:"sqlManagement"`
	Batch           string         `json:"batch"`
	Media           string         `json:"media"`
	DataLake        string         `json:"activeDirectoryDataLake"`
	VMImageAliases  string         `json:"vmImageAliasDoc"`
	OSSRDBMS        string         `json:"ossrdbmsResourceId"`
	Suffixes        suffixes       `json:"suffixes"`
}

type suffixes struct {
	ACR           string `json:"acrLoginServer"`
	KeyVault      string `json:"keyVaultDns"`
	Storage       string `json:"storage"`
	SQL           string `json:"sqlServerHostname"`
	DataLakeStore string `json:"azureDataLakeStoreFileSystem"`
	DataLakeJobs  string `json:"azureDataLakeAnalyticsCatalogAndJob"`
}

func (c Cloud) authentication(adfs bool) authentication {
	login := c.Login + "/"
	if adfs {
		login = c.Login + "/adfs"
	}
	return authentication{LoginEndpoint: login, Audiences: []string{audience, "https://management.azure.com/"}}
}

func (c Cloud) oldest() oldest {
	return oldest{Gallery: c.ResourceManager + "/", Graph: "https://graph.windows.net/", Portal: c.Login + "/", Authentication: c.authentication(c.SignInAtADFS)}
}

func (c Cloud) endpoints(adfs bool) endpoints {
	auth := c.authentication(adfs)
	auth.Tenant, auth.IdentityProvider = "common", "AAD"
	return endpoints{
		Name: c.Name, Portal: c.Login, Authentication: auth,
		ResourceManager: c.ResourceManager + "/", Graph: "https://graph.windows.net/", GraphAudience: "https://graph.windows.net/",
		// az takes this one for the address of Graph and for the audience of its tokens.
		MicrosoftGraph: c.Graph + "/",
		Gallery:        c.ResourceManager + "/", SQLManagement: c.ResourceManager + "/", Batch: "https://batch.core.windows.net/",
		Media: "https://rest.media.azure.net", DataLake: "https://datalake.azure.net/", OSSRDBMS: "https://ossrdbms-aad.database.windows.net",
		Suffixes: suffixes{ACR: "azurecr.io", KeyVault: "vault.azure.net", Storage: "core.windows.net", SQL: "database.windows.net",
			DataLakeStore: "azuredatalakestore.net", DataLakeJobs: "azuredatalakeanalytics.net"},
	}
}
