package doctor

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Code is a number behind AADSTS, and what to do about it.
type Code struct {
	Number  int    `json:"number"`
	Meaning string `json:"meaning"`
	Cause   string `json:"cause"`
	Compare string `json:"compare,omitzero"` // what to hold against what
	Next    string `json:"next"`             // the next command
	// Elsewhere is set for a code that Entra ID answers and this house does not.
	Elsewhere bool `json:"elsewhere,omitzero"`
}

// ParseCode reads "AADSTS700213", "aadsts700213:" or "700213".
func ParseCode(text string) (int, bool) {
	text = strings.TrimSuffix(strings.TrimSpace(text), ":")
	if len(text) > 6 && strings.EqualFold(text[:6], "AADSTS") {
		text = text[6:]
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 1000 && text[0] != '+'
}

// FindCode returns what a code means. False means that nobody wrote it down.
func FindCode(number int) (Code, bool) {
	c, ok := codes[number]
	c.Number = number
	return c, ok
}

// Codes yields all codes in order.
func Codes() iter.Seq[Code] {
	return func(yield func(Code) bool) {
		for _, n := range slices.Sorted(maps.Keys(codes)) {
			if c, _ := FindCode(n); !yield(c) {
				return
			}
		}
	}
}

// Commands that many codes lead to.
const (
	nextPod     = "gatehouse doctor pod NAMESPACE/NAME --cluster CLUSTER"
	nextToken   = "gatehouse doctor token - < token.txt"
	nextAccount = "gatehouse doctor sa NAMESPACE/NAME --cluster CLUSTER"
	nextApps    = "gatehouse app list"
	nextSecret  = "gatehouse app secret NAME"
	nextTrace   = "gatehouse trace --events"
	nextSignIn  = "gatehouse login"
	nextKeys    = "gatehouse keys list"
	nextUser    = "gatehouse user show NAME"
)

const (
	threeParts   = "the claims iss, sub and aud of the token with issuer, subject and audience of the federated credential, byte for byte"
	redirects    = "the redirect URI of the request with those of the application, byte for byte"
	wrongSecret  = "the value of the secret with the one that was shown when it was made; its id is not its value"
	signInAgain  = "the time of sign-in with the time since when the user's sessions are valid"
	scopeAndName = "the scope of the request with the identifier URIs and scopes of the resource"
	clocks       = "the clock of the machine that made the token with that of the house"
	keysAndKid   = "the kid of the token with the keys that its issuer publishes"
)

// codes are all that the house answers, and the common others. Sources: Microsoft's
// list of AADSTS error codes, and what the endpoints of the house say.
var codes = map[int]Code{
	// Federation.
	700211: {Meaning: "no federated credential has the token's issuer", Cause: "the cluster signs tokens for another issuer than the credential names; often the slash at the end is missing, or the cluster was made again",
		Compare: threeParts, Next: nextPod},
	700212: {Meaning: "no federated credential has the token's audience", Cause: "the token was mounted or asked for with another audience than " + Exchange + ", or for several",
		Compare: threeParts, Next: nextPod},
	700213: {Meaning: "no federated credential has the token's subject", Cause: "the pod runs as another service account, or in another namespace, than the credential names",
		Compare: threeParts, Next: nextPod},
	7002138: {Meaning: "a federated credential has the token's subject in other letter case", Cause: "subjects are compared exactly, and names in Kubernetes are in lower case",
		Compare: threeParts, Next: nextPod},
	70021: {Meaning: "no federated credential has the token's issuer, subject and audience", Cause: "the older form of 700211, 700212 and 700213; also for some minutes after a credential was made", Compare: threeParts, Next: nextPod, Elsewhere: true},
	7002131: {Meaning: "no flexible expression of a federated credential fits the token", Cause: "the expression names another claim or value", Compare: threeParts, Next: nextToken,
		Elsewhere: true},
	7002137: {Meaning: "the subject of a token of Entra ID is not the credential's", Cause: "the credential must name the object id of the identity that the token is of", Compare: threeParts, Next: nextToken, Elsewhere: true},
	700229:  {Meaning: "a token of a person was sent as an assertion", Cause: "only tokens of applications and managed identities speak for another identity", Compare: "the claim idtyp of the token with app", Next: nextToken},
	70025:   {Meaning: "the identity has no federated credential", Cause: "none was made, or the client id is that of another identity", Compare: "the client id of the request with the annotation of the service account", Next: nextAccount},
	90061: {Meaning: "the keys of the token's issuer cannot be had", Cause: "the issuer does not answer over https, is not public, or is not allowed to be asked (--private-issuer)",
		Compare: "the issuer with what .well-known/openid-configuration below it says of itself", Next: nextToken},
	700021: {Meaning: "the assertion is another client's", Cause: "the subject of the assertion is not the client id of the request", Compare: "the claim sub of the assertion with client_id", Next: nextToken},
	700023: {Meaning: "the assertion is for somebody else", Cause: "its audience is no spelling of this token endpoint", Compare: "the claim aud of the assertion with the URL of the token endpoint", Next: nextToken},
	700024: {Meaning: "the assertion has expired or is not valid yet", Cause: "a token file that nobody renews, a clock that is wrong, or a token that lives for more than a day", Compare: clocks, Next: nextToken},
	700027: {Meaning: "the signature of the assertion is not right", Cause: "its issuer does not publish the key, the certificate is not registered, or the assertion was used before", Compare: keysAndKid, Next: nextToken},
	50027:  {Meaning: "the token cannot be read", Cause: "it is cut off, has line ends in it, or is no JWT", Next: nextToken},
	50012:  {Meaning: "the assertion is not valid", Cause: "the signature, the audience or the time is not right", Compare: keysAndKid, Next: nextToken, Elsewhere: true},
	50013:  {Meaning: "the signature of the assertion is not right", Cause: "a token for on behalf of was not signed by this house, or its key is gone", Compare: keysAndKid, Next: nextToken},
	500131: {Meaning: "the assertion is for another application", Cause: "a token for on behalf of must be for the application that presents it", Compare: "the claim aud of the token with the client id", Next: nextToken},
	500133: {Meaning: "the assertion is not in its time", Cause: "the access token expired before it was exchanged", Compare: clocks, Next: nextToken},

	// Clients.
	700016:  {Meaning: "the tenant has no such application or identity", Cause: "the client id is wrong, is an object id, or belongs to another tenant", Compare: "the client id with those of the tenant", Next: nextApps},
	700011:  {Meaning: "the tenant has no such application", Cause: "as 700016", Compare: "the client id with those of the tenant", Next: nextApps, Elsewhere: true},
	7000112: {Meaning: "the application or identity is disabled or gone", Cause: "somebody disabled or deleted it", Next: nextApps},
	7000113: {Meaning: "a managed identity asked on behalf of somebody", Cause: "managed identities get tokens for themselves alone", Next: nextApps},
	7000114: {Meaning: "the application may not ask on behalf of somebody", Cause: "the token that it presents is no person's, or its own", Compare: "the claim idtyp of the token with user", Next: nextToken},
	70002:   {Meaning: "the client secret is wrong", Cause: "as 7000215", Compare: wrongSecret, Next: nextSecret, Elsewhere: true},
	7000215: {Meaning: "the client secret is wrong", Cause: "it was removed, belongs to another application, or is its id in place of its value", Compare: wrongSecret, Next: nextSecret},
	7000222: {Meaning: "the client secret has expired", Cause: "its time is over", Next: nextSecret},
	7000218: {Meaning: "neither a client secret nor an assertion was sent", Cause: "the application is no public client, and must show who it is", Compare: "whether the application is public with how the program signs in", Next: nextApps},
	7000219: {Meaning: "a client secret and an assertion were sent together", Cause: "the program is configured with both", Next: nextApps},
	700025:  {Meaning: "a public client sent a secret or an assertion", Cause: "the application is registered as one that can keep none", Compare: "whether the application is public with how the program signs in", Next: nextApps},
	700030:  {Meaning: "the subject of the certificate is not allowed", Cause: "the application names other subjects", Next: nextApps, Elsewhere: true},

	// Requests.
	28000:   {Meaning: "the scopes are of several resources", Cause: "one token is for one resource", Compare: scopeAndName, Next: nextTrace},
	1002012: {Meaning: "an application asked for single scopes", Cause: "applications ask for RESOURCE/.default", Compare: scopeAndName, Next: nextTrace},
	50011:   {Meaning: "the redirect URI is not the application's", Cause: "another port, path or slash than was registered", Compare: redirects, Next: nextApps},
	50001:   {Meaning: "the tenant has no such resource", Cause: "as 500011", Compare: scopeAndName, Next: nextApps, Elsewhere: true},
	500011:  {Meaning: "the tenant has no such resource", Cause: "the resource or scope is written wrongly, or is an application of another tenant", Compare: scopeAndName, Next: nextApps},
	650053:  {Meaning: "the resource has no such scope", Cause: "the scope is written wrongly", Compare: scopeAndName, Next: nextApps},
	70011:   {Meaning: "the scope is not valid", Cause: "it is malformed, or more than the code was for", Compare: scopeAndName, Next: nextTrace},
	700022:  {Meaning: "the scopes are of several resources", Cause: "one token is for one resource", Compare: scopeAndName, Next: nextTrace, Elsewhere: true},
	70003:   {Meaning: "the grant type is not supported", Cause: "the program asks in a way that this endpoint does not know", Next: nextTrace},
	700054:  {Meaning: "the response type is not supported", Cause: "the program wants tokens out of the front channel", Next: nextTrace},
	70007:   {Meaning: "the response mode is not supported", Cause: "a code is answered in the query, a fragment or a form", Next: nextTrace},
	90002:   {Meaning: "there is no such tenant", Cause: "the tenant id or domain is wrong, or the program talks to another cloud", Compare: "AZURE_TENANT_ID and AZURE_AUTHORITY_HOST of the program with the tenant and address of the house", Next: nextPod},
	90014:   {Meaning: "a parameter is missing", Cause: "the request lacks a field", Next: nextTrace, Elsewhere: true},
	900144:  {Meaning: "a parameter is missing", Cause: "the request lacks a field, which the text of the refusal names", Next: nextTrace},
	90015:   {Meaning: "a parameter is too long or has a value that is not supported", Cause: "the text of the refusal names it", Next: nextTrace},
	90023:   {Meaning: "the request is in an object of its own", Cause: "the parameters request and request_uri are not supported", Next: nextTrace},
	9001023: {Meaning: "the grant needs a tenant", Cause: "the program asks at /common or /organizations and must name its tenant", Compare: "AZURE_TENANT_ID of the program with the id of the tenant", Next: nextTrace},
	9002325: {Meaning: "the code challenge is missing", Cause: "public clients use PKCE", Next: nextTrace},
	501481:  {Meaning: "the code challenge method is not S256", Cause: "PKCE without a digest is not taken", Next: nextTrace},
	501491:  {Meaning: "the code challenge is malformed", Cause: "it is no SHA-256 digest in base64url", Next: nextTrace},
	50147:   {Meaning: "the code verifier is missing or too short", Cause: "the program that redeems the code is not the one that asked for it", Next: nextTrace},
	399218:  {Meaning: "the form in the browser is not one of this house's", Cause: "a page was kept open for too long, or another site sent the form", Next: nextSignIn},
	50049:   {Meaning: "the authority is not known", Cause: "the program asked whether an authority may be trusted that is not the house's", Compare: "AZURE_AUTHORITY_HOST of the program with the address of the house", Next: nextTrace},

	// People.
	50020:  {Meaning: "the person belongs to another tenant", Cause: "somebody signed in with an account of another tenant", Compare: "the domain of the name with those of the tenant", Next: nextUser},
	50034:  {Meaning: "there is no such user", Cause: "the name is written wrongly, or the user was deleted", Next: nextUser},
	50053:  {Meaning: "sign-in is locked for a while", Cause: "too many wrong passwords", Next: nextTrace},
	50055:  {Meaning: "the password has expired", Cause: "its time is over", Next: nextUser, Elsewhere: true},
	50056:  {Meaning: "the user has no password here", Cause: "it was never set", Next: nextUser, Elsewhere: true},
	50057:  {Meaning: "the user is disabled", Cause: "somebody disabled him", Next: nextUser},
	50058:  {Meaning: "nobody is signed in to the browser", Cause: "the program asked for a sign-in without a person", Next: nextSignIn},
	50126:  {Meaning: "the name or the password is wrong", Cause: "one of the two; the house does not tell which", Next: nextUser},
	50072:  {Meaning: "the user must set up a second factor", Cause: "a policy of the tenant asks for it", Next: nextSignIn, Elsewhere: true},
	50074:  {Meaning: "a second factor is needed", Cause: "a policy of the tenant asks for it", Next: nextSignIn, Elsewhere: true},
	50076:  {Meaning: "a second factor is needed", Cause: "a policy of the tenant asks for it, or the person is somewhere else", Next: nextSignIn, Elsewhere: true},
	50078:  {Meaning: "the second factor was given too long ago", Cause: "its time is over", Next: nextSignIn, Elsewhere: true},
	50079:  {Meaning: "the user must set up a second factor", Cause: "a policy of the tenant asks for it", Next: nextSignIn, Elsewhere: true},
	50105:  {Meaning: "the user is not assigned to the application", Cause: "the application takes only those who are assigned", Next: nextApps},
	50107:  {Meaning: "the realm of federation does not exist", Cause: "the user's domain is federated with nobody", Next: nextUser, Elsewhere: true},
	53000:  {Meaning: "the device does not comply", Cause: "a policy of conditional access", Next: nextSignIn, Elsewhere: true},
	53003:  {Meaning: "conditional access forbids it", Cause: "a policy of conditional access", Next: nextSignIn, Elsewhere: true},
	530032: {Meaning: "security defaults forbid it", Cause: "a policy of the tenant", Next: nextSignIn, Elsewhere: true},
	65001:  {Meaning: "nobody consented to the application", Cause: "the user or an administrator must consent", Next: nextSignIn, Elsewhere: true},
	65004:  {Meaning: "the person refused", Cause: "somebody said no at the question whether the program may", Next: nextSignIn},

	// Codes and refresh tokens.
	50173:  {Meaning: "the sign-in was ended", Cause: "the password was changed, the sessions were revoked, or a code or refresh token was used twice", Compare: signInAgain, Next: nextSignIn},
	54005:  {Meaning: "the code was redeemed already", Cause: "a program redeemed it twice, or somebody else was faster", Next: nextSignIn},
	70000:  {Meaning: "the code or refresh token is not valid", Cause: "it was not made here, is cut off, or is another client's", Next: nextSignIn},
	70008:  {Meaning: "the code or refresh token has expired", Cause: "it lay unused for too long", Next: nextSignIn},
	700082: {Meaning: "the refresh token has expired", Cause: "it lay unused for 90 days", Next: nextSignIn, Elsewhere: true},
	700084: {Meaning: "the refresh token of a single-page application has expired", Cause: "they live for 24 hours", Next: nextSignIn, Elsewhere: true},
	70016:  {Meaning: "the person has not signed in yet", Cause: "the device goes on asking; this is no failure", Next: nextSignIn},
	70018:  {Meaning: "the device code is not known", Cause: "it was not made here, or was used", Next: nextSignIn},
	70019:  {Meaning: "the device code has expired", Cause: "nobody signed in within 15 minutes", Next: nextSignIn},
	70020:  {Meaning: "the person refused the device", Cause: "somebody said no in the browser", Next: nextSignIn},

	// The house.
	50000: {Meaning: "the house failed", Cause: "its log has the reason under the trace id", Next: nextTrace},
	90033: {Meaning: "the house cannot answer for certain now", Cause: "the database is not reachable, so that what a replica knows may be old", Next: nextKeys},
	90055: {Meaning: "too many requests", Cause: "a limit of the house or of a rehearsal; the answer says when to try again", Next: nextTrace},
}
