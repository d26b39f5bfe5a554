// Package rights knows which rights an installation needs and which ones it
// gives, and asks a cluster who has them.
//
// The lists follow from the manifests: nothing here repeats a rule of RBAC.
//
//	manifests.Values ─→ objects ─→ Granted   rights that akd gets
//	                          └──→ ToInstall rights that the user needs ─→ Review ─→ Answers
package rights
