package kubeletapi

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/transport/spdy"
)

func TestPortForwardManyConnections(t *testing.T) {
	e := newEnv(t)
	e.remote.port = func(stream io.ReadWriteCloser, port int32) error {
		fmt.Fprintf(stream, "%d:", port)
		_, err := io.Copy(stream, stream)
		return err
	}
	transport, upgrader, err := spdy.RoundTripperFor(e.config(t))
	if err != nil {
		t.Fatal(err)
	}
	u := &url.URL{Scheme: "https", Host: e.addr, Path: "/portForward/shop/web"}
	conn, _, err := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, u).Dial("portforward.k8s.io")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			header := http.Header{}
			header.Set("streamType", "error")
			header.Set("port", "8080")
			header.Set("requestID", fmt.Sprint(i))
			if _, err := conn.CreateStream(header); err != nil {
				t.Error(err)
				return
			}
			header.Set("streamType", "data")
			data, err := conn.CreateStream(header)
			if err != nil {
				t.Error(err)
				return
			}
			want := strings.Repeat(fmt.Sprint(i), 10_000)
			go func() { _, _ = io.WriteString(data, want); _ = data.Close() }()
			got, err := io.ReadAll(data)
			if err != nil || string(got) != "8080:"+want {
				t.Errorf("connection %d: %d bytes of %d, error %v", i, len(got), len(want)+5, err)
			}
		})
	}
	wg.Wait()
}
