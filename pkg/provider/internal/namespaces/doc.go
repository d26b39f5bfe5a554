// Package namespaces maps local namespaces to remote ones.
//
// It owns the remote namespaces: it opens them (get or create, verify, enter,
// watch), caches their content, and deletes those that no pod uses. It also
// owns a tenant's record of them and its role bindings. It must not modify
// their content: mirror, podsecret and podsync do.
//
//	local namespace ──Opener.Ensure──▶ Namespace in the Set ──stores──▶ callers
//	                    │                  ▲
//	                    └─ access: administrator, tenant (record, role bindings)
package namespaces
