package scenario

import (
	"math/rand/v2"
	"slices"
)

// story is about one claim, and a pod that uses it.
type story struct {
	pod, other  string // names
	side, class string // a server, and the option of a claim

	claim, create, kubelet, remove, removeClaim string // lines
}

func newStory(r *rand.Rand) story {
	pod, class := pick(r, "a", "b", "c"), pick(r, "", "", " class=late", " class=now")
	return story{
		pod: pod, side: pick(r, "local", "remote"), other: pick(r, "a", "b", "c"), class: class,
		claim: "local claim data" + class, create: "local create " + pod + pick(r, "", " Never") + " claim=data",
		kubelet: "remote kubelet " + pod + " 0", remove: "local delete " + pod, removeClaim: "local delete claim data",
	}
}

func (s story) with(lines ...string) weighted { return weighted{2, lines} }

// after is what happens once the pod runs.
func (s story) after(lines ...string) weighted {
	return s.with(slices.Concat([]string{s.claim, s.create, "settle", s.kubelet, "settle"}, lines)...)
}

// lives is what happens once the pod is gone, and the claim is not.
func (s story) lives(lines ...string) weighted {
	return s.after(slices.Concat([]string{s.remove, "settle", s.kubelet, s.kubelet, "settle"}, lines)...)
}

// sourceThemes are what happens together when it matters where data is, and whose; see themes.
func sourceThemes(r *rand.Rand) []weighted {
	s := newStory(r)
	const settle = "settle"
	return []weighted{
		// A class has volumes on several nodes.
		s.with("local claim data class=both", s.create+pick(r, "", " elsewhere"), settle, s.kubelet, settle,
			"local create "+s.other+" claim=data", settle, "remote kubelet "+s.other+" 0", pick(r, settle, s.removeClaim)),
		s.with("local claim data class=both", s.create+" elsewhere", settle, "local create "+s.other+" claim=data bound", settle,
			"local claim copy from=data class=now", settle, pick(r, settle, s.removeClaim), s.remove),
		s.with("local claim data class=anywhere", pick(r, settle, s.create), settle, s.removeClaim),
		// An administrator deletes a class.
		s.with("local claim data size=13Gi", s.create, settle, "local in - remove "+classes+" standard", s.remove+" 0", s.removeClaim, settle),
		s.lives("local in - remove "+classes+" standard", pick(r, s.removeClaim, s.create), settle),
		// The data of a volume that was kept, or deleted by a person, is used again.
		s.with("local claim data class=keep", s.create, settle, s.kubelet, settle, s.remove, s.kubelet, s.kubelet, s.removeClaim, settle,
			pick(r, settle, "local delete volume data"), settle, "local import data"+pick(r, "", " bare"), s.create, settle, s.kubelet, settle),
		s.lives("local policy data Retain", pick(r, settle, s.removeClaim), settle, pick(r, settle, "local delete volume data"),
			"local import data", s.create, settle, s.kubelet, "local policy data Delete", pick(r, settle, s.remove), settle, s.kubelet,
			s.kubelet, s.removeClaim, settle),
		s.lives("local policy data Retain", pick(r, s.side+" lag", "crash 1"), s.removeClaim, settle, "local import data", s.create, settle,
			pick(r, s.side+" catch-up", "restart"), settle),
		// Another remote cluster takes the place of the first one.
		s.after("cluster other", settle, pick(r, s.removeClaim, s.create, "local claim logs class=now"), settle, s.kubelet,
			pick(r, s.remove+" 0", settle), "wait 1m", pick(r, "cluster first", "restart"), settle),
		s.lives("cluster other", pick(r, s.removeClaim, s.create, "local delete volume data"), settle, "wait 2m",
			pick(r, "cluster first", settle)),
		// A volume begins with the data of another one, which may go, become another one, or never be.
		s.after("local claim copy from=data"+s.class, "local create "+s.other+" claim=copy", pick(r, settle, s.remove), settle,
			"remote kubelet "+s.other+" 0", settle),
		s.with("local claim data"+pick(r, "", " class=late", " class=keep", " class=foreign"), "local claim copy from=data"+s.class,
			"local create "+s.other+" claim=copy", settle, s.create, settle, s.kubelet, pick(r, settle, "restart"), "wait 2m"),
		s.lives(s.removeClaim, pick(r, settle, s.claim), "local claim copy from=data", "local create "+s.other+" claim=copy", settle, s.claim,
			settle),
		s.lives("remote "+pick(r, "replace", "delete claim")+" data", "wait 3m", "local claim copy from=data class=now", settle,
			pick(r, "local adopt data", settle), "wait 2m"),
		s.after("local claim trick takes=data", "local claim copy from=trick class=now", settle),
		s.after("remote refuse create "+claims+" busy", "local claim copy from=data class=now", settle, s.remove+" 0", s.removeClaim, settle,
			"remote accept", "wait 2m"),
	}
}
