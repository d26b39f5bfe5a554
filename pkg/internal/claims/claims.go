package claims

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// Claims are the claims of a service account token.
type Claims struct {
	Subject  string   `json:"sub"`
	Audience Audience `json:"aud"`
	IssuedAt int64    `json:"iat"` // Unix time
	Expires  int64    `json:"exp"` // Unix time
}

// Audience is one string or a list of them.
// https://www.rfc-editor.org/rfc/rfc7519#section-4.1.3
type Audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *Audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = Audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// Of returns the claims of a token, or none if it is not a JWT.
func Of(token string) Claims {
	const parts = 3
	var found Claims
	split := strings.Split(token, ".")
	if len(split) != parts {
		return found
	}
	payload, err := base64.RawURLEncoding.DecodeString(split[1])
	if err != nil || json.Unmarshal(payload, &found) != nil {
		return Claims{}
	}
	return found
}

// Life returns the lifetime that the token was granted, or 0 if it does not
// expire.
func (c Claims) Life() time.Duration {
	if c.IssuedAt == 0 || c.Expires <= c.IssuedAt {
		return 0
	}
	return time.Duration(c.Expires-c.IssuedAt) * time.Second
}
