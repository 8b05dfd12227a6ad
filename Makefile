# Both start from nothing; all that is needed is Python 3.11 or newer and Node 20.19 or newer.
.PHONY: run test

# The website: make run, or make run PORT=9000
run:
	@scripts/run.sh

# Every test, in .venv with everything installed
test:
	@scripts/test.sh
