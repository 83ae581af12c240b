"""The only writers to the API server. They know how a decision is written, not why it was taken.

Rights that the operator needs, all of them (the chart grants them, the integration tests run with them):

- inferencedeployments, modelsuites, hardwareclasses: list, watch; their status: patch
- nodeinferences: list, watch, create, patch, delete; never their status, which belongs to the runtime
- nodes: list, watch, patch (one label); events in every namespace: create
- in the namespace of the install: daemonsets list, create, patch, delete; services create, patch; pods list, watch;
  leases get, create, update
"""
