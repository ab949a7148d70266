"""The edge of geomesh: Envoy's configuration, derived from the protos, and the process that answers for the mesh."""
