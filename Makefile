# The only entry to everything. The work is in deploy/local; a recipe here is a line or two.

PYTHON := .venv/bin/python
LOCAL := $(PYTHON) -m geomesh_local

.DEFAULT_GOAL := help
.PHONY: help bootstrap up down status logs migrate load certs replay protos check test test-slow evaluate-interpolation bench train-forecast evaluate-forecast clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' Makefile

up: bootstrap ## Install what is missing, migrate, load, start everything, and print what to try
	@$(LOCAL) up

down: $(PYTHON) ## Stop everything, keep the data
	@$(LOCAL) down

status: $(PYTHON) ## Show every program's state, port, memory and health
	@$(LOCAL) status

logs: $(PYTHON) ## Follow the logs; SERVICE=geocoder for one service
	@SERVICE=$(SERVICE) $(LOCAL) logs

migrate: bootstrap ## Start the stores and run the migrations that are missing
	@$(LOCAL) migrate

load: bootstrap ## Start the stores and load the data that is missing
	@$(LOCAL) load

certs: bootstrap ## Make the certificates for GEOMESH_TLS=1 that are missing or expire soon; RENEW=1 for all
	@$(LOCAL) certs

replay: $(PYTHON) ## Send August 2020 to the running stack as if it came in now; SPEED=60 HOURS=48
	@SPEED=$(SPEED) HOURS=$(HOURS) $(LOCAL) replay

protos: bootstrap ## Write what is generated: stubs, the client's services, the OpenAPI document, and pages of docs/
	@mkdir -p .run && $(PYTHON) protos/generate.py --image .run/protos.binpb
	@$(PYTHON) -m gateway.openapi --image .run/protos.binpb
	@$(PYTHON) protos/client_services.py
	@$(PYTHON) -m geomesh_local.settings_page

check: bootstrap ## Judge format, lint, types, imports, protos, edge, links, containers
	@$(LOCAL) check

test: bootstrap ## Run the tests on stores and a mesh of their own
	@$(PYTHON) -m pytest -m "not slow and not mesh" -n 4 --dist loadgroup; rest=$$?; \
	$(PYTHON) -m pytest -m "mesh and not slow" && exit $$rest

test-slow: bootstrap ## Run the tests that take longer than the suite can wait for
	@$(PYTHON) -m pytest -m slow

evaluate-interpolation: bootstrap ## Leave each station out in turn and tell how well its air is estimated
	@$(PYTHON) -m airquality.evaluate_interpolation

bench: bootstrap ## Measure, print one table of ratios, and write docs/benchmarks.md
	@$(PYTHON) -m bench

train-forecast: bootstrap ## Train forecast models on the stored readings; POLLUTANTS="pm25 o3" for which
	@$(LOCAL) train

evaluate-forecast: bootstrap ## Judge forecasts on time held back, against public baselines; writes docs/air-quality
	@.venv/bin/uv pip install --quiet --python $(PYTHON) --group evaluation
	@$(PYTHON) -m bench.forecast_evaluation

clean: $(PYTHON) ## Stop everything and remove it with its data; the virtualenv stays
	@$(LOCAL) clean

bootstrap:
	@sh deploy/local/bootstrap.sh

$(PYTHON):
	@echo "Nothing is set up here yet; make up does that." && exit 1
