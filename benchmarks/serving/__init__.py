"""How fast the runtime serves, beside other Python model servers and bare `session.run`, in the same run."""
