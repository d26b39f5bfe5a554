// Package netns makes the two network namespaces of a run and the cable
// between them.
//
// It owns namespaces whose names begin with the run's identity, and all devices,
// addresses and routes inside them. It must not add an address, route or device
// to the network that the machine itself uses: even the cable is made inside.
//
//	/run/netns/ak-1a2b3c4d-local        /run/netns/ak-1a2b3c4d-remote
//	┌──────────────────────────┐ veth  ┌──────────────────────────┐
//	│ eth0 172.18.1.1, .5, .11 ├───────┤ eth0 172.18.2.1, .11, …  │
//	│ 10.244.0.0/16 pods       │routes │ 10.245.0.0/16 pods       │
//	└──────────────────────────┘       └──────────────────────────┘
package netns
