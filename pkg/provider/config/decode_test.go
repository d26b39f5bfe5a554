package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

func TestDecode(t *testing.T) {
	header := "apiVersion: actual.vk/v1alpha1\nkind: AKDConfiguration\n"
	complete := func(cfg *config.Configuration) {
		cfg.APIVersion, cfg.Kind, cfg.NodeName = config.APIVersion, config.Kind, "vk"
		cfg.Remote.Secret = "actual-system/vk"
	}
	cases := map[string]struct {
		reason string
		data   string
		edit   func(*config.Configuration)
		want   config.ServicesMode
		err    string
	}{
		"Whole": {
			reason: "what akd reads from a file",
			data:   header + "nodeName: vk\nremote: {secret: actual-system/vk}\nservices: mirror\n",
			want:   config.ServicesMirror,
		},
		"Fragment": {reason: "edit completes it", data: "services: mirror\n", edit: complete, want: config.ServicesMirror},
		"Nothing":  {reason: "the defaults and edit are enough", edit: complete, want: config.ServicesNone},
		"Header": {
			reason: "without edit it must say what it is", data: "services: mirror\n",
			err: "akd.yaml: apiVersion: not set; want actual.vk/v1alpha1\n" +
				"akd.yaml: kind: not set; want AKDConfiguration",
		},
		"Unknown": {
			reason: "a line of the data is named", data: header + "servces: mirror\n", edit: complete,
			err: "akd.yaml:3: servces: unknown field; did you mean services?",
		},
		"Edited": {
			reason: "what edit sets is validated",
			edit: func(cfg *config.Configuration) {
				complete(cfg)
				cfg.NodeName = "Not_A_Node"
			},
			err: "akd.yaml: nodeName: found \"Not_A_Node\"; want at most 46 characters: " +
				"lowercase letters, digits and -, a letter or digit first and last",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cfg, err := config.Decode("akd.yaml", []byte(tc.data), tc.edit)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if diff := cmp.Diff(tc.err, text); diff != "" {
				t.Errorf("%s: error (-want +got):\n%s", tc.reason, diff)
			}
			if err == nil && cfg.Services != tc.want {
				t.Errorf("%s: services %q, want %q", tc.reason, cfg.Services, tc.want)
			}
		})
	}
}
