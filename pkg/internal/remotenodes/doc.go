// Package remotenodes says what the nodes of a remote cluster are together, as one node:
// what they have, and on what they agree. It is pure, and shared by akd, which follows the
// nodes if it may list them, install, which otherwise reads them once, and check.
package remotenodes
