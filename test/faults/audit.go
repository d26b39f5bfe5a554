package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// auditLog is what one API server says of who wrote what.
type auditLog struct {
	side side
	file string
	read int64 // so much of it has been judged
}

// auditEvent is one line of an audit log.
// https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/
type auditEvent struct {
	Verb string `json:"verb"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	RequestObject struct {
		Metadata      identity `json:"metadata"`
		Preconditions identity `json:"preconditions"`
	} `json:"requestObject"`
}

// identity says which object of a name is meant.
type identity struct {
	UID string `json:"uid"`
}

// akdUser is whom akd authenticates as, in both clusters.
const akdUser = "system:serviceaccount:" + contract.SystemNamespace + ":" + node

// news returns what akd has written since the last call, and what of it is wrong. A line
// that is still being written is left for the next call, and one that was cut off with its
// API server is left out.
func (l *auditLog) news() (writes int, found []violation, err error) {
	content, err := l.rest()
	if err != nil {
		return 0, nil, err
	}
	whole := content[:bytes.LastIndexByte(content, '\n')+1]
	l.read += int64(len(whole))
	for line := range bytes.Lines(whole) {
		var event auditEvent
		if json.Unmarshal(line, &event) != nil || event.User.Username != akdUser {
			continue
		}
		writes++
		if problem := event.problem(l.side); problem != "" {
			found = append(found, violation{foreign, problem})
		}
	}
	return writes, found, nil
}

// rest is what has not been judged.
func (l *auditLog) rest() (content []byte, err error) {
	file, err := os.Open(l.file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Seek(l.read, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(file)
}

// problem says what is wrong with a write of akd that has succeeded, if anything is.
func (e auditEvent) problem(in side) string {
	text := fmt.Sprintf("akd did %s to %s %s %s/%s", e.Verb, in, e.ObjectRef.Resource, e.ObjectRef.Namespace, e.ObjectRef.Name)
	switch {
	case e.ResponseStatus.Code >= 300:
		return ""
	case e.Verb == "deletecollection":
		return text
	case e.Verb == "delete" && e.RequestObject.Preconditions.UID == "":
		return text + " whatever its UID"
	case e.Verb == "patch" && e.ObjectRef.Resource == "pods" && e.RequestObject.Metadata.UID == "":
		return text + " whatever its UID"
	case in == remote && !isOwn(e.place()):
		return text + ", which is not in a namespace of its own"
	}
	return ""
}

// place is the namespace in which a request writes; a namespace is in itself.
func (e auditEvent) place() string {
	if e.ObjectRef.Namespace == "" && e.ObjectRef.Resource == "namespaces" {
		return e.ObjectRef.Name
	}
	return e.ObjectRef.Namespace
}

// isOwn reports whether akd may write in a remote namespace: its own are those of local
// ones with pods, or with Services that every pod may use.
func isOwn(remote string) bool {
	mapped := append(namespaces(), metav1.NamespaceDefault, metav1.NamespaceSystem)
	return remote == contract.SystemNamespace ||
		slices.ContainsFunc(mapped, func(local string) bool { return contract.RemoteNamespace(node, local) == remote })
}
