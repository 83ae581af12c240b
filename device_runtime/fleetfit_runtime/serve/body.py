"""The bytes of a request's body: as one piece of what was received, or received straight into their place."""

Body = bytes | memoryview
