# `make` lists the targets. bootstrap.py says why there are two environments.
.DEFAULT_GOAL := help
.PHONY: help run test lint bench chaos chaos-mutants chaos-recovery chaos-frames requirements dev

PORT ?= 8000
ARGS ?=

# A test run starts hundreds of processes of ours: each would compile the same sources anew.
unexport PYTHONDONTWRITEBYTECODE

DEV := .venv-dev/bin

# The first that is there and new enough, the one the tests run on before the others.
WITH_PYTHON = for python in python3.11 python3.12 python3.13 python3 ""; do \
	[ -n "$$python" ] || { echo "Livermore needs Python 3.11 or newer, with venv: install it (e.g. apt install python3 python3-venv, or brew install python@3.13)"; exit 1; }; \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; done;

# A configuration as in production, with secrets of this run only.
PRODUCTION = env LIVERMORE_DEMO=false DEBUG=false ALLOWED_HOSTS=livermore.example.org REDIS_URL=redis://127.0.0.1:6379/0 \
	DATABASE_URL=sqlite://:memory: LIVERMORE_DATA_DIR=build/lint \
	SECRET_KEY="$$($(DEV)/python -c 'import secrets; print(secrets.token_urlsafe(50))')" \
	FIELD_KEYS="$$($(DEV)/python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())')"
IN_TESTS = env DJANGO_SETTINGS_MODULE=tests.settings

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

run: ## install what is needed and run everything over a simulated market (PORT=8000; ARGS="--exchanges 10 --symbols 100")
	@$(WITH_PYTHON) exec "$$python" bootstrap.py run --port "$(PORT)" $(ARGS)

test: dev ## run the tests (ARGS="-k name"; DATABASE_URL=postgres://… for PostgreSQL)
	@$(DEV)/python -m pytest $(ARGS)

lint: dev ## check style, types, imports, migrations, the API schema and the production settings
	$(DEV)/ruff check .
	$(DEV)/ruff format --check .
	$(DEV)/mypy
	$(DEV)/lint-imports
	$(DEV)/bandit --quiet --configfile pyproject.toml --recursive livermore exchanges symbols market_data alerts bootstrap.py manage.py docs/examples
	find . -path './.venv*' -prune -o -path '*/templates/*' -name '*.html' -print | xargs $(DEV)/djade --check --target-version 5.2
	$(IN_TESTS) $(DEV)/python manage.py check --fail-level WARNING
	$(IN_TESTS) $(DEV)/python manage.py makemigrations --check --dry-run
	$(IN_TESTS) $(DEV)/python manage.py spectacular --validate --fail-on-warn --file /dev/null
	@echo "manage.py check --deploy --fail-level WARNING, as in production"
	@$(PRODUCTION) $(DEV)/python manage.py check --deploy --fail-level WARNING

bench: dev ## measure against the goals
	@$(DEV)/python -m benchmarks $(ARGS)

chaos: dev ## kill processes at random and judge what they left (SEED=1 SEEDS=1 KILLS=10 DB=sqlite|postgres; WIDE=1 over a Redis Cluster, shards and two web servers; docs/reliability.md)
	@$(DEV)/python -m tests.chaos $(foreach name,seed seeds kills others gap coins db redis day,$(if $($(call upper,$(name))),--$(name) "$($(call upper,$(name)))")) \
		$(if $(BLIND),--blind) $(if $(WIDE),--wide) $(if $(TWICE),--twice) $(ARGS)
upper = $(shell echo $(1) | tr a-z A-Z)

chaos-mutants: dev ## plant twelve faults, one after the other, and see that the tests find each
	@$(DEV)/python -m tests.chaos.mutants $(ARGS)

chaos-recovery: dev ## measure how soon each fault of an exchange is noticed and over (RUNS=20 SEED=1 ARGS=--long)
	@$(DEV)/python -m tests.chaos.recovery --runs $(or $(RUNS),20) --seed $(or $(SEED),1) $(ARGS)

chaos-frames: dev ## put a million hostile frames through the adapters (SEED=1)
	@$(DEV)/python -m tests.chaos.recovery --frames 1000000 --seed $(or $(SEED),1) $(ARGS)

requirements: dev ## write the hashed requirements*.txt from requirements*.in (ARGS=--upgrade for newer versions)
	$(DEV)/python -m uv pip compile requirements.in $(COMPILE) -o requirements.txt $(ARGS)
	$(DEV)/python -m uv pip compile requirements-dev.in $(COMPILE) -o requirements-dev.txt $(ARGS)
	echo uv | $(DEV)/python -m uv pip compile - $(COMPILE) -o requirements-uv.txt $(ARGS)
COMPILE := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-config

dev:
	@$(WITH_PYTHON) "$$python" bootstrap.py dev
