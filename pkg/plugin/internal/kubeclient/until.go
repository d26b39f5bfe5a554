package kubeclient

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// pollInterval is between two looks at a condition.
const pollInterval = 500 * time.Millisecond

// Until polls until a condition holds. If ctx ends first, its error says what was
// seen last.
func Until(ctx context.Context, condition func(context.Context) (done bool, seen string, err error)) error {
	var last string
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		done, seen, err := condition(ctx)
		last = seen
		output.Progress(ctx, seen)
		return done, err
	})
	if err != nil && last != "" {
		return fmt.Errorf("%s: %w", last, err)
	}
	return err
}
