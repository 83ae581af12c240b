"""Child processes that cannot outlive the process that started them."""
