"""Decides when to look at the fleet and lets one replica act: queue, leader election, plan, reconcile loop."""
