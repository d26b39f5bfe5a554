// Package namespaces maps local namespaces to remote ones.
//
// It owns the remote namespaces: it opens them (get or create, prove, enter,
// watch), knows what they hold, and deletes those that no pod uses. A tenant's
// record of them and its role bindings are here too. It must not touch what is in
// them: mirror, podsecret and podsync do.
//
//	local namespace ──Opener.Ensure──▶ Namespace in the Set ──stores──▶ who decides
//	                    │                  ▲
//	                    └─ access: administrator, tenant (record, role bindings)
package namespaces
