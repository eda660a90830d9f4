// hostscheck says where containerd asks for the images of a registry: it reads hosts.toml by containerd's own code.
//
//	hostscheck FOLDER HOST    one line for each place, in the order in which they are asked
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: hostscheck FOLDER HOST")
		os.Exit(2)
	}
	options := config.HostOptions{HostDir: config.HostDirFromRoot(os.Args[1])}
	hosts, err := config.ConfigureHosts(context.Background(), options)(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, item := range hosts {
		pull := item.Capabilities.Has(docker.HostCapabilityPull | docker.HostCapabilityResolve)
		push := item.Capabilities.Has(docker.HostCapabilityPush)
		fmt.Printf("%s://%s%s pull=%t push=%t\n", item.Scheme, item.Host, item.Path, pull, push)
	}
}
