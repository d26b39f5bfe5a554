// Package loopback knows which addresses mean the machine or pod that uses them.
package loopback
