"""What all tests share."""

from hypothesis import settings

# A busy machine is no failure, and a failure must come back when the tests are run again.
settings.register_profile("kaogen", deadline=None, derandomize=True)
settings.load_profile("kaogen")
