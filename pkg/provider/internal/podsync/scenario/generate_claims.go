package scenario

import (
	"math/rand/v2"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// hasStorage reports whether akd has storage in the history of a seed.
func hasStorage(seed uint64) bool { return seed%3 == 0 }

// claimActs are what users and administrators do to claims and volumes.
func claimActs(r *rand.Rand) []weighted {
	name, pod := pick(r, "data", "data", "logs"), pick(r, "a", "b", "c")
	local, remote := "local ", "remote "
	if r.IntN(4) == 0 {
		local, remote = "local in other ", "remote in "+contract.RemoteNamespace(Node, "other")+" "
	}
	claim := local + "claim " + name +
		pick(r, "", "", "", " class=late", " class=keep", " class=now", " class=fixed", pick(r, " class=odd", " class=foreign"),
			pick(r, " class=both", " class=both", " class=anywhere")) +
		pick(r, "", "", "", " size=5Gi", " mode=RWOP", pick(r, " block", " selector"))
	create := local + "create " + pod + pick(r, "", " Never") + " claim=" + name
	create += pick(r, "", "", "", "", " ephemeral", " bound", " elsewhere")
	own := local + "create " + pod + pick(r, "", " Never") + " ephemeral" + pick(r, "", "=late", "=keep")
	kubelet := remote + "kubelet " + pod + " " + pick(r, "0", "1")
	return []weighted{
		{8, []string{claim}},
		{10, []string{create}},
		{4, []string{claim, create, "settle", kubelet, "settle"}},
		{4, []string{own}},
		{8, []string{local + "delete claim " + name}},
		{4, []string{local + "delete claim " + name, local + "delete " + pod + pick(r, "", " 0"), claim}},
		{4, []string{local + "grow " + name + pick(r, " 2Gi", " 5Gi", " 9Gi", " 1Gi", " 13Gi")}},
		{4, []string{local + "claim copy from=" + name + pick(r, "", "", " class=late", " class=now", " class=keep", " block", " size=5Gi")}},
		{2, []string{local + "create " + pod + " claim=copy"}},
		{2, []string{local + "delete claim copy"}},
		{1, []string{local + "claim trick takes=" + name, local + "claim copy from=trick"}},
		{1, []string{local + "delete claim trick"}},
		{2, []string{local + "delete volume " + name}},
		{2, []string{local + "policy " + name + pick(r, " Retain", " Delete")}},
		{1, []string{local + "adopt " + name}},
		{2, []string{local + "import " + name + pick(r, "", "", " bare")}},
		{2, []string{remote + "delete claim " + name}},
		{1, []string{remote + "replace " + name}},
		{1, []string{remote + "impostor " + name}},
		{1, []string{remote + "claim theirs"}},
		{2, []string{pick(r, "local", "remote") + " controllers stop"}},
		{3, []string{"local controllers start", "remote controllers start"}},
		{2, []string{"remote provisioner fails"}},
		{3, []string{"remote provisioner works"}},
		{1, []string{"storage none"}},
		{2, []string{"storage"}},
	}
}

// claimFaults are what goes wrong with requests for claims and volumes.
func claimFaults(r *rand.Rand) []weighted {
	code := pick(r, "429", "500", "503", "504")
	return []weighted{
		{2, []string{"remote refuse " + pick(r, "create", "create", "get", "list", "patch", "delete") + " " + claims + " quota"}},
		{2, []string{"remote fail " + pick(r, "create", "get", "list", "patch", "delete") + " " + claims + " " + code}},
		{1, []string{"remote " + pick(r, "refuse", "fail") + " get " + classes + " " + code}},
		{2, []string{"local refuse " + pick(r, "create", "get", "list", "patch", "delete") + " " + volumes + " busy"}},
		{2, []string{"local fail " + pick(r, "create", "get", "list", "patch", "delete") + " " + volumes + " " + code}},
		{1, []string{"local " + pick(r, "refuse", "fail") + " patch " + claims + "/status " + code}},
		{1, []string{"local " + pick(r, "refuse", "fail") + " " + pick(r, "get", "list") + " " + claims + " " + code}},
	}
}

// claimThemes are what happens together when a guard of the data is needed; see themes.
func claimThemes(r *rand.Rand) []weighted {
	s := newStory(r)
	pod, other, side, claim, create, kubelet := s.pod, s.other, s.side, s.claim, s.create, s.kubelet
	remove, removeClaim, with, after, lives := s.remove, s.removeClaim, s.with, s.after, s.lives
	const settle = "settle"
	return []weighted{
		// akd ends between two of its requests.
		with(claim, "crash "+pick(r, "1", "2", "3", "4", "5", "6", "8"), create, settle, "restart", settle, kubelet),
		lives("crash "+pick(r, "0", "1", "2", "3"), removeClaim, settle, "restart"),
		// An answer is lost, or a request arrives late.
		with(claim, side+" lose", create, settle, settle, kubelet),
		with(claim, create, "remote hold", settle, pick(r, removeClaim, settle), remove+" 0", settle, pick(r, "restart", settle),
			"remote arrive"),
		with(claim, "remote hold", create, settle, remove+" 0", removeClaim, settle, claim, create, settle, "remote arrive"),
		// A claim comes again under its name, and akd has not heard of it.
		after(remove+" 0", removeClaim, "local lag", settle, claim, create, pick(r, settle, "restart"), kubelet),
		lives("local lag", removeClaim, settle, claim, create, settle, "local catch-up"),
		// Somebody else decides about the data, and akd has not heard of it.
		lives("remote refuse delete "+claims+" busy", removeClaim, settle, "local lag", "local policy data Retain", "remote accept", "wait 35s"),
		after("remote lag", "remote "+pick(r, "delete claim data", "replace data", "end"), pick(r, remove, create), settle, kubelet),
		after("remote replace data", settle, pick(r, "local adopt data", settle), remove, settle, kubelet, kubelet, create, settle),
		lives("remote "+pick(r, "delete claim data", "replace data"), "local lag "+pick(r, "4", "8", "12"), "restart", settle),
		with(claim, create, "remote lag", settle, "remote "+pick(r, "delete claim data", "replace data"), settle),
		with(claim, "remote lag", "remote impostor data", create, settle, pick(r, settle, removeClaim)),
		// What cannot be read may be there.
		lives("remote refuse "+pick(r, "get", "list")+" "+claims+" busy", pick(r, "restart", "remote compact"), removeClaim, settle),
		lives(removeClaim, "remote fail delete "+claims+" 504", settle, "remote refuse get "+claims+" busy", settle, "remote controllers stop"),
		// Nobody uses the namespace, and data is in it.
		lives("wait 11m", pick(r, create, removeClaim), settle),
		lives("storage none", "wait 11m", "storage"),
		lives(pick(r, "local lag", "remote lag"), "restart", "wait 11m"),
		with("local create "+pod, settle, "remote claim theirs", remove+" 0", kubelet, kubelet, "wait 11m"),
		lives("remote refuse list "+claims+" busy", "restart", "wait 11m"),
		with("local claim data class=keep", create, settle, kubelet, remove+" 0", kubelet, removeClaim, settle,
			pick(r, settle, "local delete volume data"), "wait 11m"),
		// It is deleted late, when another akd has put data into it.
		with("local create "+pod, settle, remove+" 0", kubelet, kubelet, settle, "wait 5m", "remote hold delete namespaces", "wait 1m",
			pick(r, "restart", "pause", "crash 0"), pick(r, settle, "restart"), claim, create, settle, kubelet, settle,
			pick(r, "remote arrive", "resume")),
		// A cluster goes back to a backup.
		with(claim, side+" save", create, settle, kubelet, settle, side+" restore", settle),
		after(side+" save", remove, settle, kubelet, kubelet, removeClaim, "wait 35s", side+" restore", settle, create),
		after("local save", "local grow data 9Gi", settle, side+" restore", settle),
		lives("remote save", "remote delete claim data", settle, "remote fail list "+claims+" 503", "remote fail get "+claims+" 503",
			"remote restore", removeClaim, settle),
		// A volume grows, or cannot.
		after("local grow data 9Gi", settle, pick(r, settle, "remote provisioner fails"), settle,
			"local grow data"+pick(r, " 5Gi", " 2Gi", " 13Gi")),
		lives("local grow data 5Gi", settle, create, settle, kubelet, settle),
		after("local grow data 13Gi", settle, "local grow data"+pick(r, " 5Gi", " 9Gi", " 2Gi"), settle),
		after("remote lag", "local grow data 9Gi", settle, "local grow data 5Gi", settle),
		// Its size is known late.
		with("local claim data class=late", create, settle, "remote controllers stop", kubelet, "local grow data 5Gi", settle,
			"remote controllers start", settle),
		// Two pods use one claim.
		after("local create "+other+" claim=data", settle, "remote kubelet "+other+" 0", remove+pick(r, "", " 0"), settle, kubelet),
		with(claim+" mode=RWOP", create, settle, kubelet, "local create "+other+" claim=data", pick(r, remove, remove+" 0"), settle,
			kubelet, kubelet, "remote kubelet "+other+" 0"),
		// A pod has volumes of its own, and comes again under its name.
		with("local create "+pod+" ephemeral", settle, kubelet, settle, remove+pick(r, "", " 0"), "local create "+pod+" ephemeral",
			kubelet, kubelet, settle, kubelet),
		with("local create "+pod+" ephemeral", settle, kubelet, "local controllers stop", remove+" 0",
			"local create "+pod+" ephemeral bound", settle),
		// akd stands still and goes on when another one has taken over.
		lives("pause", removeClaim, pick(r, claim, settle), settle, create, settle, "resume"),
		with(claim, create, side+" hold", settle, "pause", settle, kubelet, pick(r, removeClaim, settle), "resume"),
	}
}
