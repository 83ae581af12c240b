"""How well the predictor does on devices that it has not seen: 27 public ones, and this project's own measurements."""
