"""The Open Inference Protocol V2 over gRPC, with the health service and reflection; the wire format is read by hand."""
