package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestFlags(t *testing.T) {
	file := minimal + `local: {kubeconfig: local, identity: nobody}
node:
  labels: {example.com/a: b}
  taints: [{key: a, effect: NoSchedule}]
  capacity: {cpu: lots}
sync: {resyncPeriod: 1h}
`
	cases := map[string]struct {
		reason string
		file   string
		args   []string
		want   func(*Configuration)
		err    string
	}{
		"NoFile": {
			reason: "The first akd is started with flags alone.",
			args:   []string{"--node-name=vk", "--remote-kubeconfig", "remote"},
			want:   func(c *Configuration) { c.Remote.Kubeconfig = "remote" },
		},
		"Override": {
			reason: "Flags override the file, mistakes included, and replace whole maps and lists; paths are relative to the working directory.",
			file:   file,
			args: []string{
				"--local-identity=client", "--node-capacity=cpu=4,memory=1Gi", "--node-labels=example.com/c=d", "--node-labels=example.com/e=",
				"--node-taints=x=y:NoExecute,z:NoSchedule", "--pod-env=A=1,2", "--profiling", "--remote-kubeconfig=remote",
			},
			want: func(c *Configuration) {
				c.Local.Kubeconfig, c.Local.Identity = "sub/local", LocalIdentityClient
				c.Remote.Kubeconfig = "remote"
				c.Node.Capacity = corev1.ResourceList{"cpu": resource.MustParse("4"), "memory": resource.MustParse("1Gi")}
				c.Node.Labels = map[string]string{"example.com/c": "d", "example.com/e": ""}
				c.Node.Taints = []corev1.Taint{
					{Key: "x", Value: "y", Effect: corev1.TaintEffectNoExecute},
					{Key: "z", Effect: corev1.TaintEffectNoSchedule},
				}
				c.Pods.Env = []corev1.EnvVar{{Name: "A", Value: "1,2"}}
				c.Profiling = true
				c.Sync.ResyncPeriod = metav1.Duration{Duration: time.Hour}
			},
		},
		"Empty": {
			reason: "An empty flag takes away what the file has.",
			file:   minimal + "node: {labels: {example.com/a: b}}\n",
			args:   []string{"--node-labels=", "--metrics-address="},
			want: func(c *Configuration) {
				c.Remote.Kubeconfig = "/remote"
				c.Node.Labels = map[string]string{}
				c.Metrics.Address = ""
			},
		},
		"Origin": {
			reason: "An error says which flag is wrong; the file is not to blame.",
			file:   minimal,
			args:   []string{"--node-name=VK", "--node-taints=a:No"},
			err: `--node-name: nodeName: found "VK"; want at most 46 characters: lowercase letters, digits and -, a letter or digit first and last
--node-taints: node.taints[0].effect: found "No"; want NoSchedule, PreferNoSchedule or NoExecute`,
		},
		"Nothing": {
			reason: "Without a file the sentences stand alone.",
			err: `nodeName: not set; want the name of the virtual node, here or in --node-name
remote.kubeconfig: not set; want the kubeconfig of the remote cluster, here or in --remote-kubeconfig, or that of the local ` +
				`cluster: akd can use its own service account for one of them only`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			set := pflag.NewFlagSet("akd", pflag.ContinueOnError)
			flags := BindFlags(set)
			if tc.file != "" {
				if err := os.MkdirAll("sub", 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join("sub", "akd.yaml"), []byte(tc.file), 0o600); err != nil {
					t.Fatal(err)
				}
				tc.args = append(tc.args, "--config=sub/akd.yaml")
			}
			if err := set.Parse(tc.args); err != nil {
				t.Fatalf("%s\nParse: %v", tc.reason, err)
			}
			got, err := flags.Load()
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("%s\nLoad: want\n%s\ngot\n%v", tc.reason, tc.err, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s\nLoad: %v", tc.reason, err)
			}
			want := Default()
			want.NodeName = "vk"
			tc.want(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\nLoad (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFlagsRefuse(t *testing.T) {
	cases := map[string]struct {
		reason, arg, want string
	}{
		"Duration": {"A duration has a unit.", "--resync-period=10",
			`invalid argument "10" for "--resync-period" flag: found "10"; want a duration such as 30s, 5m or 1h30m`},
		"Enum": {"Allowed values are named.", "--log-level=x", `invalid argument "x" for "--log-level" flag: found "x"; want info or debug`},
		"Quantity": {"The resource is a quantity.", "--node-capacity=cpu=x",
			`invalid argument "cpu=x" for "--node-capacity" flag: found "x"; want a quantity such as 4, 500m or 16Gi`},
		"Map": {"A label without = is a mistake.", "--node-labels=a",
			`invalid argument "a" for "--node-labels" flag: found "a"; want NAME=VALUE, separated by commas`},
		"Taint": {"A taint has an effect.", "--node-taints=a",
			`invalid argument "a" for "--node-taints" flag: found "a"; want KEY=VALUE:EFFECT or KEY:EFFECT, separated by commas`},
		"Env": {"A variable has a value.", "--pod-env=A", `invalid argument "A" for "--pod-env" flag: found no =; want NAME=VALUE`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			set := pflag.NewFlagSet("akd", pflag.ContinueOnError)
			BindFlags(set)
			err := set.Parse([]string{tc.arg})
			if err == nil || err.Error() != tc.want {
				t.Errorf("%s\nParse: want %s, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

// TestUsage shows that --help tells the meaning, the default and what is allowed.
func TestUsage(t *testing.T) {
	set := pflag.NewFlagSet("akd", pflag.ContinueOnError)
	BindFlags(set)
	help := set.FlagUsages()
	for _, want := range []string{
		`Identity of akd in the local cluster (node or client) (default "node")`,
		`(default 10m)`,
		`--profiling `,
	} {
		if !strings.Contains(help, want) {
			t.Errorf("--help lacks %q:\n%s", want, help)
		}
	}
}
