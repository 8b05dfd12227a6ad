# Both start from nothing; all that is needed is Python 3.11 or newer and Node 20.19 or newer.
.PHONY: run test

# The website: make run, or make run PORT=9000; Ctrl-C ends it and is no error
run:
	@scripts/run.sh || [ $$? = 130 ]

# Every test, in .venv with everything installed
test:
	@scripts/test.sh
