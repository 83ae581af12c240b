"""The values that go round the loop; every room may import them, and they import only the API models."""
