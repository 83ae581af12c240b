"""How many examples property tests try: few in every run, each with other ones, and many on request.

`--hypothesis-profile=thorough` asks for the many, which `make properties` does. A test that names its own number keeps
it.
"""

from hypothesis import settings

settings.register_profile("usual", max_examples=50, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile("usual")
