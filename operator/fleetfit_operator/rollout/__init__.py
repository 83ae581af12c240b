"""Decides which nodes may change now: pure functions of assignments, reports and the time they are given."""
