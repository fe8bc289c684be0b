# cdc: change data capture inside PostgreSQL. `make`, `make install`; tests: tools/test.
EXTENSION = cdc
# The control file is the one source of the version.
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(EXTENSION).control)
MODULE_big = cdc
DATA = cdc--1.0.sql
OBJS = $(patsubst %.cpp,%.o,$(sort $(wildcard src/*.cpp src/*/*.cpp)))
FAULT_OBJS := $(patsubst %.cpp,%.fault.o,$(sort $(shell grep -l CDC_FAULT src/*.cpp src/*/*.cpp)))

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --temp-instance=./tmp_check --temp-config=test/cdc.conf --no-locale --encoding=UTF8
ISOLATION = $(patsubst specs/%.spec,%,$(sort $(wildcard specs/*.spec)))
ISOLATION_OPTS = --temp-instance=./tmp_check_iso --temp-config=test/cdc.conf
TAP_TESTS = 1

# Bitcode would only serve inlining into queries; nothing here is worth it (and clang would be needed).
override with_llvm = no

# CDC_COPT: flags for compiler and linker alike (a sanitizer's).
SHLIB_LINK += $(CDC_COPT)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# The server's headers are system headers: their warnings are not ours. Standard: docs in CONTRIBUTING.md.
CXXFLAGS_CDC = -std=c++20 -fno-exceptions -fno-rtti -fno-threadsafe-statics -fvisibility=hidden \
	-Wall -Wextra -Wno-register -Wno-missing-field-initializers -Wno-unused-parameter -Wno-sign-compare \
	-Wno-cast-function-type -MMD -MP -Isrc -isystem $(shell $(PG_CONFIG) --includedir-server) \
	-DCDC_VERSION='"$(EXTVERSION)"' $(CDC_CXXFLAGS) $(CDC_COPT)
# The server's own flags are those of the compiler that built it.
ifneq (,$(findstring clang,$(shell $(CXX) --version 2>/dev/null)))
CXXFLAGS_CDC += -Wno-unknown-warning-option
endif
override CXXFLAGS += $(CXXFLAGS_CDC)

-include $(OBJS:.o=.d) $(FAULT_OBJS:.o=.d)

# Objects made for another server or with other flags are never mixed in: the stamp changes with them.
BUILD_STAMP := $(CXX) $(EXTVERSION) $(shell $(PG_CONFIG) --version --includedir-server 2>/dev/null | tr '\n' ' ') $(filter-out -Werror,$(CDC_CXXFLAGS)) $(CDC_COPT)
$(OBJS) $(FAULT_OBJS): .build_stamp
.build_stamp: Makefile FORCE
	@echo "$(BUILD_STAMP)" | cmp -s - $@ || echo "$(BUILD_STAMP)" > $@
FORCE:
.PHONY: FORCE

# The library that the TAP tests run with: the same, with fault points (src/base/fault.hpp). Only sources that have some
# are compiled a second time. Nothing installs it but tools/test, for as long as those tests run.
cdc_fault.so: $(filter-out $(FAULT_OBJS:.fault.o=.o),$(OBJS)) $(FAULT_OBJS)
	$(CC) $(CFLAGS) $^ $(LDFLAGS) $(LDFLAGS_SL) -shared $(CDC_COPT) -o $@
$(FAULT_OBJS): %.fault.o: %.cpp
	$(COMPILE.cc) -DCDC_FAULT_POINTS -o $@ $<

EXTRA_CLEAN = $(OBJS:.o=.d) $(FAULT_OBJS) $(FAULT_OBJS:.o=.d) cdc_fault.so .build_stamp tmp_check tmp_check_iso results output_iso log
