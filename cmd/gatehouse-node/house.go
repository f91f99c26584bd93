//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
)

// houseFlags say which house a command asks, and by which authority it knows it.
type houseFlags struct{ url, ca string }

func (f *houseFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "house", "", "URL of the house")
	flags.StringVar(&f.ca, "house-ca", "", "file with the authority of the house, in PEM; without it, those of the system are trusted")
}

// read returns the URL and the PEM of the authority, empty if none is named.
func (f *houseFlags) read() (url string, ca []byte, err error) {
	if f.url == "" {
		return "", nil, errors.New("the house is not known: give --house, its URL")
	}
	if f.ca != "" {
		if ca, err = os.ReadFile(f.ca); err != nil {
			return "", nil, fmt.Errorf("--house-ca: %w", err)
		}
	}
	return f.url, ca, nil
}
