"""What proves who an ingress is: to other ingresses of its cluster, and to clients."""
