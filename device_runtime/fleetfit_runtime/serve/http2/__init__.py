"""HTTP/2 as a server of gRPC needs it: frames, compressed headers, streams with flow control, in plain asyncio."""
