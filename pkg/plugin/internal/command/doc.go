// Package command holds what all commands of the plugin have in common.
//
//	plugin.New ─→ Env ─→ install, check, inspect, report: NewCommand(env)
package command
