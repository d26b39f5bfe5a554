package approver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/servingrequest"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
)

const (
	// roundTimeout limits a round: the requests to the API server that it makes.
	roundTimeout = 30 * time.Second
	// firstPause and longestPause are between rounds that fail.
	firstPause   = time.Second
	longestPause = time.Minute
)

// Config configures an Approver. All fields are required.
type Config struct {
	// Server is the kubelet API whose certificate is approved.
	Server servingrequest.Server
	Client kubernetes.Interface
	Clock  clock.Clock
	Logger *slog.Logger
}

// Approver approves the requests of one node.
type Approver struct {
	cfg      Config
	requests *store.Store[*certificatesv1.CertificateSigningRequest]
	pods     *store.Store[*corev1.Pod]
	changed  chan struct{} // holds a value if there is something to look at
	pulse    *pulse
	left     map[types.UID]string // requests that are not approved, and why
}

// New returns an Approver. It contacts nothing until Run.
func New(cfg Config) (*Approver, error) {
	if cfg.Server.Node == "" || cfg.Server.Hostname == "" || cfg.Server.Signer == "" {
		return nil, errors.New("approver needs the node, its hostname and a signer")
	}
	a := &Approver{cfg: cfg, changed: make(chan struct{}, 1), pulse: newPulse(cfg.Clock), left: map[types.UID]string{}}
	a.requests = store.New(store.Handlers[*certificatesv1.CertificateSigningRequest]{
		Changed: func(store.Change[*certificatesv1.CertificateSigningRequest]) { a.wake() },
		Ready:   a.wake,
		Trim:    a.trim,
	})
	a.pods = store.New(store.Handlers[*corev1.Pod]{Changed: func(store.Change[*corev1.Pod]) { a.wake() }, Ready: a.wake})
	return a, nil
}

// trim drops what is large of requests that are none of the node's: other nodes have
// the same signer.
func (a *Approver) trim(request *certificatesv1.CertificateSigningRequest) {
	if !a.cfg.Server.Awaits(request) {
		request.Spec.Request, request.Spec.Extra, request.Status.Certificate = nil, nil, nil
	}
}

func (a *Approver) wake() {
	select {
	case a.changed <- struct{}{}:
	default: // a round is due already
	}
}

// Run approves requests until ctx ends.
func (a *Approver) Run(ctx context.Context) error {
	server := store.Server{Client: a.cfg.Client, Timeline: store.NewTimeline()}
	requests := store.NewListWatch("certificatesigningrequests", server, a.cfg.Client.CertificatesV1().CertificateSigningRequests(),
		store.ByField("spec.signerName", a.cfg.Server.Signer))
	pods := store.NewListWatch("akd's pods", server, a.cfg.Client.CoreV1().Pods(contract.SystemNamespace), a.ofAKD)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { a.requests.Run(ctx, a.pulse.watched(requests)); return nil })
	group.Go(func() error { a.pods.Run(ctx, a.pulse.watched(pods)); return nil })
	group.Go(func() error { a.work(ctx); return nil })
	return group.Wait()
}

func (a *Approver) ofAKD(options *metav1.ListOptions) {
	options.LabelSelector = contract.AKDSelector(a.cfg.Server.Node)
}

// work makes a round after each change, and again after one that failed.
func (a *Approver) work(ctx context.Context) {
	pause := newPause()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.changed:
		case <-again:
		}
		again = nil
		err := a.round(ctx)
		if err == nil || ctx.Err() != nil {
			pause = newPause()
			continue
		}
		a.cfg.Logger.Error("certificate requests are looked at again later", "error", err)
		again = a.cfg.Clock.After(pause.Step())
	}
}

func newPause() wait.Backoff {
	return wait.Backoff{Duration: firstPause, Cap: longestPause, Steps: 7, Factor: 2, Jitter: 0.5}
}

// round looks at all requests of the node that nobody has decided on.
func (a *Approver) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	awaiting := a.awaiting()
	a.forget(awaiting)
	if len(awaiting) == 0 {
		return nil
	}
	options := metav1.ListOptions{}
	a.ofAKD(&options)
	akds, err := a.cfg.Client.CoreV1().Pods(contract.SystemNamespace).List(ctx, options)
	if err != nil {
		return fmt.Errorf("list akd's pods, whose addresses a certificate can be for: %w", err)
	}
	addresses := servingrequest.Addresses(akds.Items, a.cfg.Server.Node)
	var failed []error
	for _, request := range awaiting {
		if err := a.cfg.Server.Check(request, addresses); err != nil {
			a.leave(request, err)
			continue
		}
		failed = append(failed, a.approve(ctx, request))
	}
	return errors.Join(failed...)
}

// awaiting returns the node's requests that nobody has decided on, by name.
func (a *Approver) awaiting() []*certificatesv1.CertificateSigningRequest {
	all := slices.DeleteFunc(a.requests.All(), func(r *certificatesv1.CertificateSigningRequest) bool { return !a.cfg.Server.Awaits(r) })
	slices.SortFunc(all, func(x, y *certificatesv1.CertificateSigningRequest) int { return cmp.Compare(x.Name, y.Name) })
	return all
}

func (a *Approver) approve(ctx context.Context, request *certificatesv1.CertificateSigningRequest) error {
	request = request.DeepCopy()
	servingrequest.Approve(request, "ActualApprover", "the node's own subject, and the addresses of akd's own pods")
	approved, err := a.cfg.Client.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, request.Name, request,
		metav1.UpdateOptions{FieldManager: contract.ApproverUserAgent})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // somebody was faster: the watch reports it
	}
	if err != nil {
		return fmt.Errorf("approve certificate request %s: %w", request.Name, err)
	}
	a.cfg.Logger.Info("approved a certificate request", "request", request.Name)
	a.requests.Put(approved)
	return nil
}

// leave logs why a request is not approved, once for each reason.
func (a *Approver) leave(request *certificatesv1.CertificateSigningRequest, why error) {
	if a.left[request.UID] == why.Error() {
		return
	}
	a.left[request.UID] = why.Error()
	a.cfg.Logger.Warn("left a certificate request to somebody else", "request", request.Name, "reason", why)
}

// forget drops what is known of requests that await nothing any more.
func (a *Approver) forget(awaiting []*certificatesv1.CertificateSigningRequest) {
	for uid := range a.left {
		if !slices.ContainsFunc(awaiting, func(r *certificatesv1.CertificateSigningRequest) bool { return r.UID == uid }) {
			delete(a.left, uid)
		}
	}
}

// CheckReady returns nil if both watches work. Whoever waits for an approval otherwise
// waits in vain.
func (a *Approver) CheckReady(context.Context) error {
	if !a.requests.HasSynced() || !a.pods.HasSynced() {
		return cmp.Or(a.pulse.problem(), errors.New("requests and pods have not been listed yet"))
	}
	return a.pulse.problem()
}

// CheckLive returns nil if the watches begin anew from time to time, as they do even if
// no API server answers.
func (a *Approver) CheckLive(context.Context) error { return a.pulse.stopped() }
