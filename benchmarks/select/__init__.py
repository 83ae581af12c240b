"""The choice with simulated users of 27 real devices: regret, a flipped taste, few questions, forged ratings, cost."""
