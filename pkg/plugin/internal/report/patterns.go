package report

import "regexp"

// pattern is what a secret looks like, and what replaces it.
type pattern struct {
	secret      *regexp.Regexp
	replacement string
}

// secretNames are the ends of names whose values are secret.
const secretNames = `password|passwd|passphrase|secret[_-]?key|api[_-]?key|access[_-]?key|private[_-]?key|auth[_-]?token|` +
	`access[_-]?token|refresh[_-]?token|client[_-]?secret|client-key-data|credentials?|signature|\btoken|\bpwd`

// patterns find secrets in text that is shown, such as logs and messages. They are
// the second line: what users write into objects is hidden whatever it looks like.
func patterns() []pattern {
	const word = `[A-Za-z0-9_-]`
	is := func(secret, replacement string) pattern { return pattern{regexp.MustCompile(secret), replacement} }
	return []pattern{
		// JSON Web Tokens, as ServiceAccounts and OIDC have them.
		is(`eyJ`+word+`{8,}\.`+word+`{8,}(\.`+word+`*)?`, redacted),
		// PEM, also without its end, and with its lines escaped.
		is(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----(.*?-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|[A-Za-z0-9+/=\s\\]*)`, redacted),
		is(`(?i)(authorization["']?\s*[:=]\s*["']?(?:[a-z]+\s+)?)[^\s"',\\]+`, "${1}"+redacted),
		is(`(?i)\b(bearer|basic) +[A-Za-z0-9._~+/=-]{8,}`, "${1} "+redacted),
		// Tokens that say what they are: of code hosts, registries, clouds, Vault, chats.
		is(`\b(gh[pousr]_|github_pat_|gl(pat|dt|rt|ft|soat|imt|ptt|cbt|agent)-|npm_|dckr_pat_|dop_v1_|pypi-AgE|xox[a-z]-|xapp-)`+word+`{10,}`,
			redacted),
		is(`\b[srp]k[-_](live|test|proj|ant)[-_]`+word+`{10,}`, redacted),
		is(`\bhv[sbr]\.`+word+`{8,}|\bs\.[A-Za-z0-9]{24}\b`, redacted),
		is(`\b(AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{16}\b`, redacted),
		is(`\bAIza`+word+`{30,}|\bya29\.`+word+`{10,}|\bSG\.`+word+`{10,}\.`+word+`{10,}`, redacted),
		// A telling name, and its value: in YAML, JSON, flags and URLs.
		is(`(?i)(["']?[\w.-]*(?:`+secretNames+`)["']?\s*[:=]\s*["']?)[^\s"',}&]{3,}`, "${1}"+redacted),
		is(`(?i)(--?[\w-]*(?:token|passw(?:or)?d|passphrase|secret|credentials?|api-?key)["']?[=\s,]+["']?(?:-\s+)?)[^\s"',-][^\s"',]{2,}`,
			"${1}"+redacted),
		is(`((?:^|[\s"'])(?:-u|--user)["']?[=\s,]+["']?[^\s:"',]+:)[^\s"',]+`, "${1}"+redacted),
		is(`(\b(?:mysql|mariadb|mongo)\w*\b[^\n]*?["'\s]-p)[^\s"',]+`, "${1}"+redacted),
		is(`([a-z][a-z0-9+.-]*://[^/\s:@]*:)[^/\s@]+@`, "${1}"+redacted+"@"),
		is(`([a-z][a-z0-9+.-]*://)[^/\s:@?#]+@`, "${1}"+redacted+"@"),
	}
}
