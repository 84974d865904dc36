# The jars of the test broker, of the inbox's JDBC example and of what the bench compares with, fetched once by Maven. The sanitized build shares them with the
# other one.
KAFKA_LIB := $(abspath $(patsubst %/san,%,$(BUILD))/kafka-lib)
JDBC_LIB  := $(abspath $(patsubst %/san,%,$(BUILD))/jdbc-lib)
PEERS_LIB := $(abspath $(patsubst %/san,%,$(BUILD))/peers-lib)
export KAFKA_LIB JDBC_LIB PEERS_LIB

# Maven Central answers "too many requests" or drops a connection now and then: three attempts.
fetch_jars = \
	mkdir -p $(@D); rm -f $(@D)/*.jar; \
	for try in 1 2 3; do \
	    echo "mvn: jars of $(1) -> $(@D) (attempt $$try)"; \
	    if mvn -q -B -f $< dependency:copy-dependencies -DincludeScope=runtime \
	        -DoutputDirectory=$(@D) > $(@D)/mvn.log 2>&1; then touch $@; exit 0; fi; \
	    sleep $$((try * 3)); \
	done; cat $(@D)/mvn.log >&2; echo "The jars of $(1) could not be fetched: see above." >&2; exit 1

$(KAFKA_LIB)/.complete: tests/pom.xml
	@$(call fetch_jars,the test broker)

$(JDBC_LIB)/.complete: tests/jdbc/pom.xml
	@$(call fetch_jars,the JDBC example)

$(PEERS_LIB)/.complete: tests/bench/peers/pom.xml
	@$(call fetch_jars,the bench's peers)

.PHONY: kafka-lib jdbc-lib peers-lib
kafka-lib: $(KAFKA_LIB)/.complete
jdbc-lib: $(JDBC_LIB)/.complete
peers-lib: $(PEERS_LIB)/.complete
