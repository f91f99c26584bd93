package tour

import (
	"context"

	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/signin"
)

// Operator returns a client of the house that conf signs in to, as its operator.
func Operator(conf signin.Config) (*client.Client, error) {
	hc, err := signin.Client(conf.CAFile)
	if err != nil {
		return nil, err
	}
	return &client.Client{Base: conf.Authority, HTTP: hc, Token: func(ctx context.Context) (string, error) {
		tok, err := signin.Token(ctx, conf)
		if err != nil {
			return "", err
		}
		return tok.AccessToken, nil
	}}, nil
}
