"""What users of this node say of the variants that served them."""
