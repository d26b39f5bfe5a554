package kubeclient

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Commands builds the commands that messages tell users to run. They can be pasted
// into a POSIX shell, and lead to the clusters that this command was run with. A
// message ends its line with them: what follows would be pasted, too.
//
// The zero value leads to the current context, and to a remote context that the
// user has to fill in.
type Commands struct {
	// local and remote are flags of kubectl actual that lead to each side.
	local, remote []string
	// environment and kubectl are how kubectl itself is led to the remote one.
	environment string
	kubectl     []string
}

// Commands returns the commands that lead to the same clusters. They hold no
// secrets: who gave a token or a key as a flag has to give it again.
func (a *Access) Commands() Commands {
	var c Commands
	add := func(to *[]string, flag string, values ...string) {
		for _, value := range values {
			if value != "" {
				*to = append(*to, "--"+flag+"="+value)
			}
		}
	}
	local, remote := a.Local, a.remote
	add(&c.remote, "remote-context", remote.context)
	add(&c.remote, "remote-kubeconfig", remote.files)
	add(&c.remote, "remote-as", remote.as.user)
	add(&c.remote, "remote-as-group", remote.as.groups...)
	add(&c.remote, "remote-as-uid", remote.as.uid)
	add(&c.remote, "remote-as-user-extra", remote.as.extra...)
	add(&c.local, "context", *local.Context)
	add(&c.local, "kubeconfig", *local.KubeConfig)
	for _, given := range []struct{ flag, value string }{
		{"cluster", *local.ClusterName}, {"user", *local.AuthInfoName}, {"server", *local.APIServer},
		{"certificate-authority", *local.CAFile}, {"tls-server-name", *local.TLSServerName}, {"as", *local.Impersonate},
		{"as-uid", *local.ImpersonateUID},
	} {
		add(&c.local, given.flag, given.value)
	}
	add(&c.local, "as-group", *local.ImpersonateGroup...)
	add(&c.local, "as-user-extra", *local.ImpersonateUserExtra...)
	if *local.Insecure {
		add(&c.local, "insecure-skip-tls-verify", "true")
	}
	if !a.NamesRemote() {
		return c
	}
	add(&c.kubectl, "context", remote.context)
	switch files := filepath.SplitList(remote.files); len(files) {
	case 0:
		add(&c.kubectl, "kubeconfig", *local.KubeConfig)
	case 1:
		add(&c.kubectl, "kubeconfig", files[0])
	default:
		c.environment = "KUBECONFIG=" + quoted(remote.files) + " "
	}
	add(&c.kubectl, "as", remote.as.user)
	add(&c.kubectl, "as-group", remote.as.groups...)
	add(&c.kubectl, "as-uid", remote.as.uid)
	add(&c.kubectl, "as-user-extra", remote.as.extra...)
	return c
}

// Elsewhere is for another remote cluster than the one of this command.
func (c Commands) Elsewhere() Commands { return Commands{local: c.local} }

// Actual returns a command of kubectl actual that needs both clusters.
func (c Commands) Actual(words ...string) string {
	remote := c.remote
	if len(remote) == 0 {
		remote = []string{"--remote-context=CONTEXT"}
	}
	return shell(slices.Concat([]string{"kubectl", "actual"}, words, remote, c.local))
}

// ActualLocal returns a command of kubectl actual that needs the local cluster only.
func (c Commands) ActualLocal(words ...string) string {
	return shell(slices.Concat([]string{"kubectl", "actual"}, words, c.local))
}

// Kubectl returns a command of kubectl on one side.
func (c Commands) Kubectl(side Side, words ...string) string {
	if side == Local {
		return shell(slices.Concat([]string{"kubectl"}, words, c.local))
	}
	if len(c.kubectl) == 0 && c.environment == "" {
		return shell(slices.Concat([]string{"kubectl"}, words, []string{"--context=CONTEXT"}))
	}
	return c.environment + shell(slices.Concat([]string{"kubectl"}, words, c.kubectl))
}

func shell(words []string) string {
	text := make([]string, 0, len(words))
	for _, word := range words {
		text = append(text, quoted(word))
	}
	return strings.Join(text, " ")
}

// plain are words that a shell reads as they are.
var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quoted quotes a word for a POSIX shell, of a flag only the value.
// https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_02_02
func quoted(word string) string {
	if plain.MatchString(word) {
		return word
	}
	flag, value, found := strings.Cut(word, "=")
	if !found || !strings.HasPrefix(flag, "--") || !plain.MatchString(flag) {
		flag, value = "", word
	} else {
		flag += "="
	}
	return flag + "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}
