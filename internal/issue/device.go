package issue

import (
	"context"
	"crypto/rand"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// A DeviceRequest is what came to a device authorization endpoint.
type DeviceRequest struct {
	Realm    string
	V1       bool
	ClientID string
	Scope    string
	Resource string // the version 1.0 endpoint's
}

// A DeviceCode is what the device gets: a code that it shows to a person, and one
// that it keeps.
type DeviceCode struct {
	UserCode   string
	DeviceCode Secret
	// Page is the URL at which the person enters the user code.
	Page      string
	ExpiresIn time.Duration
	Interval  time.Duration
	Message   string // for the person
}

// userAlphabet has no vowels, so that a code is never a word, and no characters
// that look alike. Nine of its 20 letters are 38.9 bits.
const (
	userAlphabet   = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeLength = 9
)

// deviceState is the terminal state that a device code moves to, once.
type deviceState string

const (
	devicePending  deviceState = ""
	deviceApproved deviceState = "approved"
	deviceDenied   deviceState = "denied"
	deviceRedeemed deviceState = "redeemed"
)

// device is a device code as it is stored, under its digest.
type device struct {
	Tenant  directory.TenantID `json:"tenant"` // zero: whichever the person is of
	Client  directory.AppID    `json:"client"`
	Scopes  Scopes             `json:"scopes"`
	V1      bool               `json:"v1,omitzero"`
	Code    string             `json:"code"` // the user code
	State   deviceState        `json:"state,omitzero"`
	Who     Identity           `json:"who,omitzero"`
	Family  string             `json:"family"`
	Expires time.Time          `json:"expires"`
}

// A device code is remembered for a while after its end, to say that it expired.
const deviceMemory = 5 * time.Minute

func (d device) put(id string, rev int64) (store.PrivateOp, error) {
	memory := deviceMemory
	if d.State == deviceRedeemed {
		memory = AccessLife // so that a second use is noticed
	}
	return put(d, d.Expires.Add(memory), &rev, bucketDevice, id)
}

// DevicePage is the path of the page at which user codes are entered.
const DevicePage = "/device"

// StartDevice begins the device authorization grant (RFC 8628).
func (i *Issuer) StartDevice(ctx context.Context, req DeviceRequest) (DeviceCode, error) {
	est, err := i.estate()
	if err != nil {
		return DeviceCode{}, err
	}
	realm, err := ResolveRealm(est, req.Realm)
	if err != nil {
		return DeviceCode{}, err
	}
	c, err := findClient(est, realm, req.ClientID)
	if err != nil {
		return DeviceCode{}, err
	}
	if !c.public {
		return DeviceCode{}, refuse(unauthorizedClient, 7000218, "The device code grant is for public clients; '%s' is not one.", c.id)
	}
	var scopes Scopes
	switch {
	case req.V1 && req.Resource != "":
		scopes, err = scopesOf(req.Resource)
	case req.V1:
		return DeviceCode{}, errMissing("resource")
	case req.Scope == "":
		return DeviceCode{}, errMissing("scope")
	default:
		scopes, err = ParseScopes(req.Scope)
	}
	if err != nil {
		return DeviceCode{}, err
	}
	r, _, err := i.resolveResource(est, realm, scopes.Resource)
	if err != nil {
		return DeviceCode{}, err
	}
	if _, _, err := r.grant(scopes); err != nil {
		return DeviceCode{}, err
	}
	now := i.now()
	if !i.pace.start(c.id, now) {
		return DeviceCode{}, errBusy()
	}
	for range 4 {
		text, code := randomText(32), newUserCode()
		d := device{Tenant: realm.ID, Client: c.id, Scopes: scopes, V1: req.V1, Code: code, Family: newFamilyID(), Expires: now.Add(DeviceLife)}
		id := digest("device", text)
		var absent int64
		op1, err := d.put(id, 0)
		if err != nil {
			return DeviceCode{}, err
		}
		op2, err := put(id, d.Expires, &absent, bucketUserCode, digest("usercode", code))
		if err != nil {
			return DeviceCode{}, err
		}
		err = i.commit(ctx, op1, op2)
		if errors.Is(err, errChanged) {
			continue // the user code is taken
		}
		if err != nil {
			return DeviceCode{}, err
		}
		// Whatever name the device knows the house by, the person's browser is told
		// the house's own: another one may lead past the proxy, to a stranger.
		page := i.fronts[0] + DevicePage
		return DeviceCode{
			UserCode: code, DeviceCode: NewSecret(text), Page: page, ExpiresIn: DeviceLife, Interval: DeviceInterval,
			Message: "To sign in, use a web browser to open the page " + page + " and enter the code " + code + " to authenticate.",
		}, nil
	}
	return DeviceCode{}, errBusy()
}

func newUserCode() string {
	var b strings.Builder
	for range userCodeLength {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(userAlphabet))))
		if err != nil {
			panic(err) // crypto/rand does not fail
		}
		b.WriteByte(userAlphabet[n.Int64()])
	}
	return b.String()
}

// cleanUserCode returns a code as a person typed it in its one spelling, or "".
func cleanUserCode(typed string) string {
	if len(typed) > 64 {
		return ""
	}
	code := strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '-':
			return -1
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		}
		return r
	}, typed)
	if len(code) != userCodeLength || strings.Trim(code, userAlphabet) != "" {
		return ""
	}
	return code
}

// A PendingDevice is a device that waits for a person.
type PendingDevice struct {
	UserCode   string
	ClientName string
	Realm      Realm
	ClientID   directory.AppID
}

// ErrNoSuchCode says that a user code is not, or no longer, waiting.
var ErrNoSuchCode = errors.New("no device waits for this code")

// FindDevice returns the device behind a user code. Wrong codes are counted by
// browser, by source and altogether; over the limit, codes are not looked at. A replica
// looks at one at a time, so that many at once are not more than the limit.
func (i *Issuer) FindDevice(ctx context.Context, typed, browser, source string) (PendingDevice, error) {
	select {
	case i.looking <- struct{}{}:
		defer func() { <-i.looking }()
	case <-ctx.Done():
		return PendingDevice{}, ctx.Err()
	}
	limits := []struct {
		kind, key string
		limit     int
	}{{"codes-browser", browser, maxCodesPerBrowser}, {"codes-source", source, maxCodesPerSource}, {"codes", "all", maxCodesAtAll}}
	for _, l := range limits {
		n, err := i.count(ctx, l.kind, l.key)
		if err != nil {
			return PendingDevice{}, err
		}
		if n >= l.limit {
			return PendingDevice{}, errTooManyCodes(attemptWindow)
		}
	}
	_, d, _, err := i.findDevice(ctx, typed)
	if errors.Is(err, ErrNoSuchCode) {
		for _, l := range limits {
			if _, err := i.add(ctx, l.kind, l.key, l.limit); err != nil {
				return PendingDevice{}, err
			}
		}
	}
	if err != nil {
		return PendingDevice{}, err
	}
	est, err := i.estate()
	if err != nil {
		return PendingDevice{}, err
	}
	c, ok := clientOf(est, d.Client)
	if !ok {
		return PendingDevice{}, ErrNoSuchCode
	}
	p := PendingDevice{UserCode: d.Code, ClientName: c.name, ClientID: c.id, Realm: Realm{ID: d.Tenant}}
	if d.Tenant.IsZero() {
		p.Realm = Realm{alias: "organizations"}
	}
	return p, nil
}

func (i *Issuer) findDevice(ctx context.Context, typed string) (id string, d device, rev int64, err error) {
	code := cleanUserCode(typed)
	if code == "" {
		return "", device{}, 0, ErrNoSuchCode
	}
	if _, err = i.load(ctx, &id, bucketUserCode, digest("usercode", code)); err == nil {
		rev, err = i.load(ctx, &d, bucketDevice, id)
	}
	switch {
	case errors.Is(err, errAbsent):
		return "", device{}, 0, ErrNoSuchCode
	case err != nil:
		return "", device{}, 0, err
	case d.Code != code || d.State != devicePending || !i.now().Before(d.Expires):
		return "", device{}, 0, ErrNoSuchCode
	}
	return id, d, rev, nil
}

// ApproveDevice lets a device that was found sign in as a person, who has shown
// just now who he is. Everything that would refuse the device its tokens is said
// here already.
func (i *Issuer) ApproveDevice(ctx context.Context, found PendingDevice, who Identity) error {
	id, d, rev, err := i.findDevice(ctx, found.UserCode)
	if err != nil {
		return err
	}
	est, err := i.estate()
	if err != nil {
		return err
	}
	c, ok := clientOf(est, d.Client)
	if !ok {
		return ErrNoSuchCode
	}
	c.proof = proofPublic
	if _, err := i.admit(est, proof{realm: d.realm(), client: c, scopes: d.Scopes, who: who, v1: d.V1}); err != nil {
		return err
	}
	d.State, d.Who = deviceApproved, who
	return i.settle(ctx, id, d, rev, store.Change{By: who.User, Why: "device sign-in approved for " + c.name})
}

// DenyDevice refuses a device that was found, for whoever has its user code.
func (i *Issuer) DenyDevice(ctx context.Context, found PendingDevice) error {
	id, d, rev, err := i.findDevice(ctx, found.UserCode)
	if err != nil {
		return err
	}
	d.State = deviceDenied
	return i.settle(ctx, id, d, rev, store.Change{})
}

// settle moves a device to its terminal state and uses up its user code. Whoever
// comes second finds that the code is gone.
func (i *Issuer) settle(ctx context.Context, id string, d device, rev int64, change store.Change) error {
	op, err := d.put(id, rev)
	if err != nil {
		return err
	}
	ops := []store.PrivateOp{op, {Bucket: bucketUserCode, ID: []string{digest("usercode", d.Code)}}}
	if change.Why != "" {
		change.Private = ops
		err = i.audited(ctx, change)
	} else {
		err = i.commit(ctx, ops...)
	}
	if errors.Is(err, errChanged) {
		return ErrNoSuchCode
	}
	return err
}

func (d device) realm() Realm {
	if d.Tenant.IsZero() {
		return Realm{alias: "organizations"}
	}
	return Realm{ID: d.Tenant}
}

// poll answers the device code grant.
func (i *Issuer) poll(ctx context.Context, req TokenRequest, realm Realm, c client) (Answer, error) {
	text := req.DeviceCode
	if text.IsZero() {
		text = req.Code // ADAL's name for it
	}
	if text.IsZero() {
		return Answer{}, errMissing("device_code")
	}
	if c.proof != proofPublic {
		return Answer{}, refuse(unauthorizedClient, 7000218, "The device code grant is for public clients; '%s' is not one.", c.id)
	}
	unknown := refuse(badVerificationCode, 70018, "Bad verification code: the 'device_code' is not known.")
	id := digest("device", text.Reveal())
	var d device
	rev, err := i.load(ctx, &d, bucketDevice, id)
	switch {
	case errors.Is(err, errAbsent):
		return Answer{}, unknown
	case err != nil:
		return Answer{}, err
	case d.Client != c.id || !d.Tenant.IsZero() && !realm.Admits(d.Tenant):
		return Answer{}, unknown
	}
	now := i.now()
	switch {
	case d.State == deviceDenied:
		return Answer{}, refuse(authorizationDenied, 70020, "The end user denied the authorization request.")
	case d.State == deviceRedeemed:
		return Answer{}, i.replayed(ctx, d.Family, "device code used again: the sign-in was ended")
	case !now.Before(d.Expires):
		return Answer{}, refuse(expiredToken, 70019, "The verification code expired before it was used.")
	case d.State == devicePending && !i.pace.poll(id, d.Expires, now):
		return Answer{}, &Error{OAuth: slowDown, Code: 70016, Status: http.StatusBadRequest, Text: "OAuth 2.0 device flow: the authorization is pending, and the device asks too often. Add 5 seconds to the interval."}
	case d.State == devicePending:
		return Answer{}, refuse(authorizationPending, 70016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling.")
	}
	scopes, err := req.scopes(d.Scopes)
	if err != nil {
		return Answer{}, err
	}
	if !scopes.within(d.Scopes) {
		return Answer{}, refuse(invalidScope, 70011, "The provided value for the input parameter 'scope' is not valid. It exceeds what the device asked for.")
	}
	scopes.OpenID, scopes.Offline = d.Scopes.OpenID, d.Scopes.Offline
	p := proof{realm: realm, client: c, scopes: scopes, who: d.Who, family: d.Family, v1: req.V1, spn: req.spn()}
	d.State = deviceRedeemed
	used, err := d.put(id, rev)
	if err != nil {
		return Answer{}, err
	}
	ans, err := i.begin(ctx, p, used)
	if isLost(err) {
		return Answer{}, i.replayed(ctx, d.Family, "device code used twice at once: the sign-in was ended")
	}
	i.pace.forget(id)
	return ans, err
}
