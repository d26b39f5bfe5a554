package certs

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Access is one way into one cluster.
type Access struct {
	// Context names the cluster, the user and the context of the kubeconfig.
	Context string
	// Server is the URL of the API server.
	Server string
	// CA is the authority that signed the server's certificate.
	CA []byte
	// Client is the certificate that the user shows.
	Client Pair
}

// WriteKubeconfig stores a self-contained kubeconfig for all accesses, readable
// by the owner only. The first access is the current context.
func WriteKubeconfig(path string, accesses ...Access) error {
	config := clientcmdapi.NewConfig()
	for _, access := range accesses {
		config.Clusters[access.Context] = &clientcmdapi.Cluster{
			Server:                   access.Server,
			CertificateAuthorityData: access.CA,
		}
		config.AuthInfos[access.Context] = &clientcmdapi.AuthInfo{
			ClientCertificateData: access.Client.Cert,
			ClientKeyData:         access.Client.Key,
		}
		config.Contexts[access.Context] = &clientcmdapi.Context{Cluster: access.Context, AuthInfo: access.Context}
		if config.CurrentContext == "" {
			config.CurrentContext = access.Context
		}
	}
	// WriteToFile makes the file with mode 0600.
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write kubeconfig %s: %w", path, err)
	}
	return nil
}
