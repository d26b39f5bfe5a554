package install

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// tokenLifetime is the value of --token-lifetime; 0 if it was not given.
type tokenLifetime time.Duration

func (l *tokenLifetime) addFlag(flags *pflag.FlagSet) {
	flags.Var(l, "token-lifetime",
		"lifetime of akd's tokens, 10m to 24h: how long a stolen one is accepted, and how long akd may be away "+
			"(default: as the node has it, 24h for a new one)")
}

// Set implements pflag.Value.
func (l *tokenLifetime) Set(text string) error {
	life, err := contract.ParseTokenLifetime(text)
	*l = tokenLifetime(life)
	return err
}

// String implements pflag.Value.
func (l *tokenLifetime) String() string {
	if *l == 0 {
		return ""
	}
	return time.Duration(*l).String()
}

// Type implements pflag.Value.
func (l *tokenLifetime) Type() string { return "duration" }
