package report

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/owner"
)

type options struct {
	env   *command.Env
	clock clock.PassiveClock

	node string
	file string
}

// NewCommand returns kubectl actual report.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env, clock: clock.RealClock{}}
	cmd := &cobra.Command{
		Use:   "report NODE --remote-context CONTEXT",
		Short: "Write a zip for a bug report",
		Long: `Write a zip for a bug report: the objects that were installed for a node in both
clusters, its pods and their remote ones, events, akd's logs, and the results of
kubectl actual check without the probe pod. Nothing is sent anywhere.

Of Secrets, the zip has names, keys and sizes only. Of pods and other objects, it
has the fields that docs/report.md lists; the text of all others is replaced by
REDACTED: commands, arguments, values of environment variables, headers and
annotations among them. What is hidden there, every value of a Secret, and
anything that looks like a token, a password or a private key, is redacted
wherever it occurs, in logs and messages too. Names of pods, nodes and images,
and addresses, are kept: read the zip before you publish it.`,
		Example: `  # Write kubectl-actual-vk-ak-example-TIME.zip
  kubectl actual report vk-ak-example --remote-context=remote

  # Choose the file
  kubectl actual report vk-ak-example --remote-context=remote -f report.zip`,
		Args: command.OneNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args[0]); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&o.file, "filename", "f", "", "file to create (default: kubectl-actual-NODE-TIME.zip)")
	return cmd
}

// complete reads the command line. It contacts no server.
func (o *options) complete(node string) error {
	if err := contract.CheckNodeName(node); err != nil {
		return failure.Usage(err)
	}
	o.node = node
	if o.file == "" {
		o.file = fmt.Sprintf("kubectl-actual-%s-%s.zip", node, o.clock.Now().UTC().Format("20060102T150405Z"))
	}
	return nil
}

func (o *options) run(ctx context.Context) error {
	both, err := o.env.Access.Connect(ctx)
	if err != nil {
		return err
	}
	claims, err := owner.Find(ctx, both.Remote, both.Owner(o.node))
	if err != nil {
		return err
	}
	if err := claims.RefusalWithoutOwn(); err != nil {
		return err
	}
	file, err := os.OpenFile(o.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return failure.Hintf(failure.Usagef("%s already exists", o.file), "name another file with --filename")
	}
	if err != nil {
		return failure.Usage(err)
	}
	notes, err := o.fill(ctx, both, file)
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(o.file)) // half a report is misleading
	}
	for _, note := range notes {
		o.env.ErrOut().Labeled("left out", note)
	}
	o.env.Out().Printf("%s written: read it before you publish it\n", o.file)
	return nil
}

// fill gathers everything before it writes anything: only when all Secrets have
// been read is it known what is secret.
func (o *options) fill(ctx context.Context, both kubeclient.Clusters, to io.Writer) (notes []string, err error) {
	g := newGatherer(both.Owner(o.node))
	for _, c := range []*kubeclient.Cluster{both.Local, both.Remote} {
		if err := g.cluster(ctx, c); err != nil {
			return nil, err
		}
	}
	if err := g.checks(ctx, both, o.env.Version); err != nil {
		return nil, err
	}
	g.entries["about.txt"] = o.about(both, g.notes)
	if err := o.write(g, to); err != nil {
		return nil, fmt.Errorf("write %s: %w", o.file, err)
	}
	return g.notes, ctx.Err()
}

// about describes the report itself.
func (o *options) about(both kubeclient.Clusters, notes []string) string {
	lines := []string{
		"node " + o.node,
		"kubectl-actual " + o.env.Version,
		"local Kubernetes " + both.Local.Version,
		"remote Kubernetes " + both.Remote.Version,
		"written " + o.clock.Now().UTC().Format(time.RFC3339),
		"",
		"left out:",
	}
	for _, note := range notes {
		lines = append(lines, strings.ReplaceAll(note, "\n", "\n  "))
	}
	return strings.Join(lines, "\n") + "\n"
}

// write writes the entries, redacted, as a zip.
func (o *options) write(g *gatherer, to io.Writer) error {
	for name, objects := range g.objects {
		content, err := g.redactor.objects(objects)
		if err != nil {
			return err
		}
		g.entries[name] = content
	}
	archive := zip.NewWriter(to)
	for _, name := range slices.Sorted(maps.Keys(g.entries)) {
		entry, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: o.clock.Now()})
		if err != nil {
			return err
		}
		content := g.redactor.text(g.entries[name])
		if path.Ext(name) != ".yaml" { // a person reads it, in a terminal
			content = output.Text(content)
		}
		if _, err := io.WriteString(entry, content); err != nil {
			return err
		}
	}
	return archive.Close()
}
