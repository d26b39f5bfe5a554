package contract

import (
	"testing"
)

func TestVolumeNames(t *testing.T) {
	t.Parallel()
	const uid = "4f1c9f2e-0a57-4c5e-9d5b-0c2f6e4b7a11"
	if got := ClaimUID(VolumeName(uid)); got != uid {
		t.Errorf("ClaimUID(VolumeName(%q)) = %q", uid, got)
	}
	for _, foreign := range []string{"", "data", "pv-1", "Pvc-" + uid} {
		if got := ClaimUID(foreign); got != "" {
			t.Errorf("ClaimUID(%q) = %q; want none", foreign, got)
		}
	}
}

func TestVolumeHandles(t *testing.T) {
	t.Parallel()
	namespace, claim, ok := ParseVolumeHandle(VolumeHandle("vk-0123456789abcdef", "pvc-1"))
	if !ok || namespace != "vk-0123456789abcdef" || claim != "pvc-1" {
		t.Errorf("got %q, %q, %v", namespace, claim, ok)
	}
	for _, invalid := range []string{"", "/", "a", "a/", "/b"} {
		if _, _, ok := ParseVolumeHandle(invalid); ok {
			t.Errorf("ParseVolumeHandle(%q) is ok", invalid)
		}
	}
}
